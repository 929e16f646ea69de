"""Objects as the files of an environment repository have them."""

from __future__ import annotations

import yaml

from interlock.cd.objects import Body


def dumped(*bodies: Body) -> str:
    """Without anchors, which no file of ours may have."""

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump_all(bodies, Dumper=Plain)
