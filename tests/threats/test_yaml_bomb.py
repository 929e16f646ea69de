"""A YAML file blows up when it is read, runs code, or means one thing to a reviewer and another to the cluster.

Number: 8
Defence: one reader for every file of both repositories (interlock/contract/strict_yaml.py): no anchors, aliases, tags,
directives, merge keys or duplicate keys, limits on bytes, depth and entries, no plain scalars that readers dispute.
Not defended: characters that look alike: a reviewer may take a Cyrillic `а` for a Latin one.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest
import yaml

from interlock.contract import strict_yaml
from interlock.errors import FormatError

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
TAG = "a: !!python/object/apply:os.getpid []\n"
DOUBLE = "replicas: 1\nimage: reviewed\nimage: evil\n"
MERGED = "base: &base {privileged: true}\ncontainer: {<<: *base, name: web}\n"
DISPUTED = "country: no\nmode: 0644\n"
DEEP = "[" * 100_000
READ_AND_WRITTEN = (
    "import resource, sys, yaml, json; resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28));"
    "json.dumps(yaml.safe_load(sys.argv[1]))"
)


def test_a_bomb_succeeds_in_pyyaml() -> None:
    """Some 400 bytes are read at once, and fill a quarter of a gigabyte as soon as somebody writes them out."""
    assert len(BOMB) < 500

    done = subprocess.run((sys.executable, "-c", READ_AND_WRITTEN, BOMB), capture_output=True, check=False, timeout=120)

    assert b"MemoryError" in done.stderr


def test_a_tag_succeeds_in_running_a_function() -> None:
    """PyYAML's own default for years."""
    assert yaml.unsafe_load(TAG) == {"a": os.getpid()}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (DOUBLE, {"replicas": 1, "image": "evil"}),
        (MERGED, {"base": {"privileged": True}, "container": {"privileged": True, "name": "web"}}),
        (DISPUTED, {"country": False, "mode": 0o644}),
    ],
    ids=["a key twice", "a merge key", "disputed scalars"],
)
def test_a_second_meaning_succeeds_in_pyyaml(text: str, meant: object) -> None:
    """The last key wins, a merge brings in what stands elsewhere, and Norway is false."""
    assert yaml.safe_load(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "bomb.yaml:1:5: anchors and aliases are not allowed"),
        (TAG, "bomb.yaml:1:4: the tag .*python/object/apply:os.getpid is not allowed"),
        (DOUBLE, "bomb.yaml:3:1: the key 'image' stands here and in line 2"),
        (MERGED, "bomb.yaml:1:7: anchors and aliases are not allowed"),
        ("a: {<<: {b: 1}}\n", "bomb.yaml:1:5: "),
        ("country: no\n", "bomb.yaml:1:10: "),
        ("mode: 0644\n", "bomb.yaml:1:7: "),
        (DEEP, "nested deeper than 40"),
        ("a: 1\n" * 300_000, "larger than 1048576 bytes"),
        (f"[{'1,' * 60_000}]", "more than 50000 entries"),
        ("%YAML 1.1\n---\na: 1\n", "directives are not allowed"),
    ],
)
def test_a_hostile_file_is_refused(text: str, said: str) -> None:
    """With the place of what is wrong, and before a value is made of it."""
    with pytest.raises(FormatError, match=said):
        strict_yaml.load(text, path="bomb.yaml")

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20


def test_what_is_read_is_what_stands_there() -> None:
    """A harmless file is read; its JSON is no longer than it looks."""
    assert json.dumps(strict_yaml.load("image: reviewed\nreplicas: 1\n", path="a").value) == (
        '{"image": "reviewed", "replicas": 1}'
    )
