"""A template that never ends, or fills all memory, takes the worker down with it.

Number: 6
Defence: rendering is a child process with limits on memory, processor time, wall time and the size of its answer
(tasks/common/confined.py, tasks/common/render_child.py); templates have no `range`.
Not defended: many greedy templates one after another: each costs up to 30 seconds of one run, over and over, until
somebody reverts the commit. The environment stays as it is meanwhile.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import pytest

from interlock.contract import repository
from interlock.contract.render import Inputs, inputs
from interlock.errors import RenderError
from tasks.common import confined
from tasks.common import render as process
from tests.examples_of_repositories import environment_tree

LOOPS = "".join(f"{{% for {name} in values.x %}}" for name in "abcdef") + "{% endfor %}" * 6
GREEDY = {
    "a long text": "a: {{ 'a' * 3000000000 }}",
    "a wide number": "a: {{ '%3000000000d' | format(1) }}",
    "nested loops": LOOPS,
    "a macro without end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
}
PLAIN = """
import sys
from jinja2.sandbox import ImmutableSandboxedEnvironment
sys.stdout.write(ImmutableSandboxedEnvironment().from_string(sys.argv[1]).render(values={"x": list(range(500))}))
"""


def given(template: str) -> Inputs:
    changes = {
        "templates/service/extra.yaml.j2": template,
        "applications/shop/values.yaml": f"port: 1\nx: {list(range(500))}\n",
    }
    return inputs(repository.read(environment_tree(changes)), "dev")


def test_a_template_that_takes_a_gigabyte_succeeds_in_plain_jinja2() -> None:
    """Jinja2's own sandbox lets it: the memory is used, in whatever process renders."""
    template = "{{ ('a' * 1200000000) | length }}"
    child = subprocess.run((sys.executable, "-c", PLAIN, template), capture_output=True, check=True)
    most_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss

    assert child.stdout == b"1200000000" and most_kib > confined.MEMORY_BYTES >> 10


def test_a_template_without_end_succeeds_in_plain_jinja2() -> None:
    """It is still at it when ours has been stopped for long."""
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run((sys.executable, "-c", PLAIN, LOOPS), check=False, timeout=confined.CPU_SECONDS + 2)


@pytest.mark.parametrize("template", GREEDY.values(), ids=GREEDY)
def test_a_greedy_template_ends_with_one_error(template: str) -> None:
    """In bounded time and memory, whatever it multiplies."""
    before = time.monotonic()

    with pytest.raises(RenderError, match=r"takes too much time or memory|needs more than 1024 MiB|RecursionError"):
        process.render_apart(given(template))

    assert time.monotonic() - before < process.TIMEOUT_SECONDS + 5
