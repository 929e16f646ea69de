"""Sealed values on their way through templates: placeholders that only a Secret may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from interlock.contract import layout, render, repository, sops
from interlock.contract.sealed import place
from interlock.errors import FormatError, RenderError
from tasks.common.render import render_environment
from tasks.common.validate import validate_offline
from tests.examples_of_repositories import APPLICATION, ENVIRONMENT, REPOSITORY_ID, environment_tree
from tests.sealing import OWN_PLACE, identity, recipients_file, seal

_, RECIPIENT = identity()
_, OTHER = identity()
PATH = layout.secrets(ENVIRONMENT, APPLICATION)
TEMPLATE = "templates/service/extra.yaml.j2"
VALUES = {"password": "hunter2-canary", "database": {"user": "ada", "password": "s3same"}, "empty": ""}
SEALED = seal(VALUES, RECIPIENT)
HEAD = "apiVersion: v1\nkind: {}\nmetadata:\n  name: x\n"


def _files(template: str = "", sealed: str = SEALED, *recipients: str) -> dict[str, str | bytes | None]:
    files = {PATH: sealed, layout.RECIPIENTS: recipients_file(*(recipients or (RECIPIENT,)))}
    return {**files, **({TEMPLATE: template} if template else {})}


def _body(template: str) -> Mapping[str, object]:
    rendered = render.render(repository.read(environment_tree(_files(template))), ENVIRONMENT)
    return next(each.body for each in rendered.manifests if each.body["metadata"]["name"] == "x")


def test_a_secret_holds_placeholders_and_nothing_that_was_sealed() -> None:
    """A whole value, a text around it, a mapping as a whole: each leaf is a placeholder with its name."""
    body = _body(
        HEAD.format("Secret")
        + "data:\n  whole: {{ secrets.password }}\n"
        + "stringData:\n  url: postgres://{{ secrets.database.user }}:{{ secrets.database.password }}@db\n"
        + "  file: |\n    password = {{ secrets.password }}\n"
        + "  given: {{ 'yes' if secrets.password is defined else 'no' }}\n"
        + "  none: {{ secrets.nothing | default('x') }}\n"
        + "  empty: {{ secrets.empty }}\n"
    )
    token = r"⟦sealed {} [0-9a-f]{{32}}⟧".format
    data, plain = body["data"], body["stringData"]
    assert isinstance(data, dict)
    assert isinstance(plain, dict)
    assert re.fullmatch(token("password"), data["whole"])
    assert re.fullmatch(f"postgres://{token('database.user')}:{token('database.password')}@db", plain["url"])
    assert re.fullmatch(f"password = {token('password')}\n", plain["file"])
    assert (plain["given"], plain["none"], plain["empty"]) == ("yes", "x", "")
    assert "hunter2" not in str(body)


def test_a_mapping_of_sealed_values_is_written_as_a_whole() -> None:
    """`stringData: {{ secrets.database }}` and a loop over it make an entry of each."""
    whole = _body(HEAD.format("Secret") + "stringData: {{ secrets.database }}\n")
    loop = "{% for key, value in secrets.database.items() %}\n  {{ key }}: {{ value }}\n{% endfor %}\n"
    assert whole == _body(HEAD.format("Secret") + "stringData:\n" + loop)


MISPLACED = {
    "data.password of a ConfigMap": HEAD.format("ConfigMap") + "data:\n  password: {{ secrets.password }}\n",
    "metadata.annotations.note of a Secret": HEAD.format("Secret")
    + "  annotations:\n    note: is {{ secrets.password }}\n",
    "a sealed value cannot be a key": HEAD.format("Secret") + "stringData:\n  {{ secrets.password }}: x\n",
    "it can only be the whole value": HEAD.format("Secret") + "data:\n  a: x{{ secrets.password }}\n",
    "spec.args.0 of a Widget": "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: x}\n"
    "spec:\n  args: ['{{ secrets.password }}']\n",
    "data.a of a Secret": "apiVersion: example.org/v1\nkind: Secret\nmetadata: {name: x}\n"
    "data: {a: '{{ secrets.password }}'}\n",
}


@pytest.mark.parametrize("said", MISPLACED)
def test_anywhere_else_a_sealed_value_is_one_clear_error(said: str) -> None:
    """With the template's file and line, and the expression."""
    with pytest.raises(RenderError, match=re.escape(said)) as caught:
        _body(MISPLACED[said])
    assert caught.value.path == TEMPLATE
    assert caught.value.line
    assert "secrets.password }}" in str(caught.value)
    assert "hunter2" not in str(caught.value)


USES = (
    "secrets.password | upper",
    "secrets.password | length",
    "secrets.password[:3]",
    "secrets.password ~ 'x'",
    "secrets.password + 'x'",
    "secrets.password == 'hunter2-canary'",
    "'hunter' in secrets.password",
    "'x' if secrets.password else 'y'",
    "secrets.password | tojson",
    "secrets | tojson",
    "secrets.database.values() | join",
    "secrets.database.values() | sort",
    "'%s' | format(secrets.password)",
    "secrets.password | urlencode",
    "{secrets.password: 1}",
)


@pytest.mark.parametrize("use", USES)
def test_a_template_cannot_look_into_a_sealed_value(use: str) -> None:
    """Not even what it is compared with: no output depends on what is sealed."""
    with pytest.raises(RenderError) as caught:
        _body(HEAD.format("Secret") + f"stringData:\n  a: {{{{ {use} }}}}\n")
    assert caught.value.path == TEMPLATE


def test_a_template_cannot_reach_behind_a_sealed_value() -> None:
    """Its attributes are closed as any object's of Python."""
    for use in ("secrets.password._text", "secrets.password.__class__", "secrets.password['_text']"):
        with pytest.raises(RenderError):
            _body(HEAD.format("Secret") + f"stringData:\n  a: {{{{ {use} }}}}\n")


def _token() -> str:
    found = render.inputs(repository.read(environment_tree(_files())), ENVIRONMENT).applications[0]
    return str(found.secrets["database"]["password"])


FORGED = {
    "a whole value": "  a: {{ values.copied }}\n",
    "a text with values in it": "  a: 'x{{ values.copied }}'\n",
    "parts that are joined": "  a: '{{ values.opening }}sealed {{ values.closing }}'\n",
    "a list as JSON": "  a: '{{ [values.copied] | tojson }}'\n",
    "a mapping": "  b: {{ {'a': values.copied} }}\n",
    "the template's own text": "  a: TOKEN\n",
    "an escape": '  a: "\\u27e6ESCAPED"\n',
    "an escape in an expression": "  a: {{ '\\u27e6ESCAPED' }}\n",
    "a block": "  a: |\n    TOKEN\n",
}


@pytest.mark.parametrize("how", FORGED)
def test_a_copied_placeholder_is_no_placeholder(how: str) -> None:
    """Its text is public, so only `{{ secrets.… }}` writes it: not a value, nor a template's text, nor their parts."""
    token = _token()
    entries = FORGED[how].replace("TOKEN", token).replace("ESCAPED", token[1:])
    path = layout.values(ENVIRONMENT, APPLICATION)
    given = environment_tree(_files(HEAD.format("Secret") + "stringData:\n" + entries))
    values = given.text(path) + f"copied: '{token}'\nopening: {token[0]}\nclosing: '{token[8:]}'\n"
    tree = environment_tree({**_files(HEAD.format("Secret") + "stringData:\n" + entries), path: values})
    with pytest.raises(RenderError, match="begins the placeholder of a sealed value") as caught:
        render.render(repository.read(tree), ENVIRONMENT)
    assert caught.value.path == TEMPLATE
    assert caught.value.line


@pytest.mark.parametrize("name", ["ConfigMap", "Secret"])
def test_a_plain_manifest_writes_no_placeholder(name: str) -> None:
    """With file and line: plain manifests have no `{{ secrets.… }}`, so every placeholder in one is a copy."""
    path = f"environments/{ENVIRONMENT}/{APPLICATION}/manifests/extra.yaml"
    text = HEAD.format(name) + f"stringData:\n  a: '{_token()}'\n"
    with pytest.raises(FormatError, match="begins the placeholder of a sealed value") as caught:
        render.render(repository.read(environment_tree({**_files(), path: text})), ENVIRONMENT)
    assert (caught.value.path, caught.value.line) == (path, 6)


def test_another_ciphertext_is_another_render_and_the_same_one_the_same() -> None:
    """What is kept of renders is told apart by the ciphertext."""

    def inputs(sealed: str) -> render.Inputs:
        return render.inputs(repository.read(environment_tree(_files("", sealed))), ENVIRONMENT)

    assert inputs(SEALED) == inputs(SEALED)
    assert inputs(SEALED).applications[0].secrets != inputs(seal(VALUES, RECIPIENT)).applications[0].secrets
    assert "hunter2" not in str(inputs(SEALED).to_json())


def _refused(files: Mapping[str, str | bytes | None]) -> str:
    with pytest.raises(FormatError) as caught:
        repository.read(environment_tree(files))
    assert caught.value.line
    return str(caught.value)


def test_a_file_of_another_application_is_refused() -> None:
    """What was sealed for one application lies in no other's folder, and CI sees it without a key."""
    foreign = seal(VALUES, RECIPIENT, to=place(REPOSITORY_ID, ENVIRONMENT, "till"))
    assert f"is sealed to {REPOSITORY_ID}/dev/till, and lies where {OWN_PLACE} belongs" in _refused(_files("", foreign))


def test_recipients_are_just_those_that_trust_declares() -> None:
    """One too many could read it, and one too few could not; both are said with the name."""
    assert f"is sealed to {OTHER} too" in _refused(_files("", seal(VALUES, RECIPIENT, OTHER)))
    assert f"is not sealed to host-1 ({OTHER})" in _refused(_files("", SEALED, RECIPIENT, OTHER))
    assert "is sealed to" in _refused({PATH: SEALED})


def test_recipients_are_well_formed() -> None:
    """A recipient that age does not know, one that stands there twice, an unknown environment."""
    assert "age recipient" in _refused({layout.RECIPIENTS: recipients_file("age1x")})
    assert "stands there twice" in _refused({layout.RECIPIENTS: recipients_file(RECIPIENT, RECIPIENT)})
    assert "no environment" in _refused({layout.RECIPIENTS: recipients_file(RECIPIENT, environment="prod")})


def test_what_ci_cannot_read_it_validates_all_the_same() -> None:
    """A placeholder is no base64, and stands where base64 will be: schemas and rules have nothing against it."""
    found = repository.read(
        environment_tree(
            _files(
                HEAD.format("Secret")
                + "data:\n  whole: {{ secrets.password }}\n"
                + "stringData:\n  url: x{{ secrets.password }}\n"
            )
        )
    )
    rendered = render_environment.fn(found, ENVIRONMENT)
    assert validate_offline.fn(found, rendered).violations == ()


def test_nothing_that_renders_needs_a_key() -> None:
    """CI renders and checks what it cannot read."""
    assert sops.read(SEALED, path=PATH).recipients.keys() == {RECIPIENT}
    assert render.render(repository.read(environment_tree(_files())), ENVIRONMENT).manifests
