"""Write docs/threats.md from the tests of this folder."""

from __future__ import annotations

import sys

from tests.threats.page import PAGE, Unclear, page


def main() -> int:
    try:
        PAGE.write_text(page())
    except Unclear as unclear:
        sys.stderr.write(f"{unclear}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
