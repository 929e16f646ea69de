"""Which files checks of configurations could read: only a change of those is a reason to check again."""

from __future__ import annotations

import pytest

from interlock.ci.configurations import read_by_checks

TREE = ["app.py", "web/index.html", "Dockerfile", "Dockerfile.go", "go.Dockerfile", "deploy/pod.yaml", "LICENSE"]


def test_code_is_none_of_them() -> None:
    """Unless it has the name of a Dockerfile, or is one."""
    assert read_by_checks(TREE) == ["Dockerfile", "Dockerfile.go", "go.Dockerfile", "deploy/pod.yaml", "LICENSE"]
    assert "app.py" in read_by_checks(TREE, ["app.py"])


@pytest.mark.parametrize(
    "name",
    ["main.tf", "a/main.tf.json", "x.TFVARS", "c/Chart.yaml", "c/templates/_a.tpl", "c.tgz", "c.tar.gz", "ansible.cfg"],
)
def test_where_one_may_name_others_all_count(name: str) -> None:
    """A file of Terraform or a chart may read any other."""
    assert read_by_checks([*TREE, name]) == [*TREE, name]
