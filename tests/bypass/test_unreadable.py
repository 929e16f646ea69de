"""A file that the scanner's user may not read: it is passed over without a word."""

from __future__ import annotations

from pathlib import Path

from tasks.ci.scanner import Scanner, check_scanner, scan_folder
from tests.bypass.bypass import KEY, Plain, write

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_it_hides_nothing_from_us(plain: Plain, scanner: Scanner, tmp_path: Path) -> None:
    """Every file is made readable in the copy that is scanned."""
    folder, home = tmp_path / "source", tmp_path / "home"
    write(folder, {"readable.txt": "x\n", "key.py": KEY})
    home.mkdir()
    home.chmod(0o777)
    for path in tmp_path.parents[:-2]:  # pytest's own
        path.chmod(path.stat().st_mode | 0o005)
    tmp_path.chmod(0o755)
    words = ("fs", ".", "--scanners", "secret")
    nobody = {"HOME": str(home)}
    assert "github-pat" in plain.run(*words, cwd=folder, before=NOBODY, variables=nobody)
    (folder / "key.py").chmod(0)
    assert plain.run(*words, cwd=folder, before=NOBODY, variables=nobody) == frozenset()

    scan = scan_folder.fn(scanner, tmp_path, subject="source", database=check_scanner.fn(scanner))

    assert "github-pat" in {finding.id for finding in scan.findings}
