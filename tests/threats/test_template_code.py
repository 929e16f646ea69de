"""A template, or a value that a template writes out, runs code where CI or CD renders.

Number: 5
Defence: Jinja2's immutable sandbox without globals and with a short list of filters (interlock/contract/template.py);
values are data and never read as templates; rendering is a child process without environment, files, network or
children, for which the kernel refuses every other system call (tasks/common/confined.py, tasks/common/seccomp.py).
Not defended: a flaw in Jinja2's sandbox and a second one in the kernel at once; the
second lock is there on 64-bit Linux (x86-64, arm64) only. A template still decides what its
own application's objects are, within what validation and the rules allow.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest

from interlock.contract import repository
from interlock.contract.render import Inputs, inputs
from interlock.errors import RenderError
from tasks.common import render as process
from tests.examples_of_repositories import environment_tree

TEMPLATE = "templates/service/extra.yaml.j2"
PROBES = (
    "cycler.__init__.__globals__.os.getpid()",
    "joiner.__init__.__globals__.os.getpid()",
    "namespace.__init__.__globals__.os.getpid()",
    "lipsum.__globals__.os.getpid()",
    "lipsum.__builtins__['__import__']('os').getpid()",
    "lipsum['__globals__']['os']['getpid']()",
    "cycler['__ini' ~ 't__']['__glo' ~ 'bals__'].os.getpid()",
    r"(lipsum | attr('\x5f\x5fglobals\x5f\x5f')).os.getpid()",
    "([cycler] | map(attribute='__init__.__globals__.os') | first).getpid()",
    "self.__init__.__globals__.__builtins__['__import__']('os').getpid()",
    "self._TemplateReference__context.environment.globals.lipsum.__globals__.os.getpid()",
    "macro.__init__.__globals__.__builtins__['__import__']('os').getpid()",
    "nothing.__class__.__init__.__globals__.__builtins__['__import__']('os').getpid()",
    (
        "(''.__class__.__base__.__subclasses__() | selectattr('__name__', 'equalto', 'catch_warnings') | first)()"
        "._module.__builtins__['__import__']('os').getpid()"
    ),
    "values.update({'name': lipsum.__globals__.os.getpid()}) or values.name",
)


def template(expression: str) -> str:
    macro = "{% macro macro() %}{% endmacro %}"
    return (
        f"{macro}apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: probe}}\ndata: {{said: x{{{{ {expression} }}}}}}\n"
    )


def given(expression: str, values: str = "port: 1\nname: harmless\n") -> Inputs:
    changes = {TEMPLATE: template(expression), "applications/shop/values.yaml": values}
    return inputs(repository.read(environment_tree(changes)), "dev")


def said(request: Inputs) -> Any:
    """What the template wrote, rendered as CI and CD do."""
    (body,) = (each.body for each in process.render_apart(request).manifests if each.identity.name == "probe")
    return body["data"]["said"]


@pytest.mark.parametrize("probe", PROBES)
def test_a_template_that_runs_code_succeeds_in_plain_jinja2(probe: str) -> None:
    """Each of these tells the process id of who renders: it ran a function of the module `os`."""
    text = jinja2.Environment(autoescape=False).from_string(template(probe)).render(values={"name": "a"})  # noqa: S701

    assert f"said: x{os.getpid()}" in text


@pytest.mark.parametrize("probe", PROBES)
def test_a_template_that_runs_code_is_refused(probe: str) -> None:
    """None of them comes to anything, and the error names the template's line; a harmless one renders."""
    with pytest.raises(RenderError, match=r"extra\.yaml\.j2:4: ") as refused:
        process.render_apart(given(probe))

    assert any(reason in str(refused.value) for reason in ("unsafe", "is not given", "No filter named 'attr'"))
    assert said(given("values.name")) == "xharmless"


def test_a_value_that_is_a_template_succeeds_where_values_are_rendered() -> None:
    """As with Helm's `tpl`: what a value holds is rendered once more."""
    plain = jinja2.Environment(autoescape=False)  # noqa: S701
    once = plain.from_string("{{ values.name }}").render(values={"name": "{{ " + PROBES[0] + " }}"})

    assert plain.from_string(once).render() == str(os.getpid())


def test_a_value_that_is_a_template_stays_text() -> None:
    """It reaches the object letter by letter."""
    probe = "{{ " + PROBES[0] + " }}"

    assert said(given("values.name", f"port: 1\nname: '{probe}'\n")) == f"x{probe}"


ESCAPED = """
import os, socket, subprocess
from tasks.common import confined, render_child
render_child.warm_up()
CONFINE
for what in (
    lambda: os.open({secret!r}, os.O_RDONLY),
    lambda: (os.close(0), os.open({secret!r}, os.O_RDONLY)),
    lambda: (os.close(0), os.open({made!r}, os.O_WRONLY | os.O_CREAT)),
    lambda: socket.socket(),
    lambda: os.fork() or os._exit(0),
    lambda: os.execv("/bin/echo", ["echo", "ran"]),
    lambda: os.kill(os.getppid(), 0),
    lambda: os.unlink({secret!r}),
):
    try:
        what()
    except OSError as error:
        os.write(1, b"refused ")
    else:
        os.write(1, b"done ")
"""


def escaped(folder: Path, confine: str) -> str:
    """What code reaches that got out of the sandbox, in a process as ours."""
    secret, made = folder / "secret", folder / "made"
    secret.write_text("hunter2")
    code = ESCAPED.format(secret=str(secret), made=str(made)).replace("CONFINE", confine)
    done = subprocess.run((process.COMMAND[0], "-I", "-c", code), capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_code_outside_the_sandbox_succeeds_in_a_process_that_is_not_confined(tmp_path: Path) -> None:
    """It reads a file, opens a socket, starts a program: all that CD's own user may."""
    assert escaped(tmp_path, "").startswith("done done done done done ran")


def test_code_outside_the_sandbox_finds_nothing_to_do(tmp_path: Path) -> None:
    """Should Jinja2's sandbox have a hole: no file, no network, no program, no signal to others."""
    assert escaped(tmp_path, "confined.confine()") == "refused " * 8
