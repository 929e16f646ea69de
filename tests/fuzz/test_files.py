"""Files of repositories: YAML, templates, values, trust, policy, Dockerfiles, locks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock.cd.objects import spell
from interlock.ci.dockerfile import require_local
from interlock.ci.locks import is_manifest, unlocked
from interlock.ci.references import read_references, require_allowed
from interlock.contract import canonical, field_path, layout, repository, strict_yaml, trailers
from interlock.contract.models import ApplicationRepositoryFile, BuildRules
from interlock.contract.render import inputs, render_inputs
from interlock.contract.template import TemplateSet
from interlock.contract.tree import Tree
from interlock.contract.verification import trust_of
from interlock.errors import RenderError
from tests.examples_of_repositories import environment_tree
from tests.fuzz.hostile import JSON, fuzzed, hostile, hostile_text, only_ours

TREE = environment_tree()
PATHS = sorted(TREE.files)
YAML = [content.decode() for path, content in TREE.files.items() if path.endswith((".yaml", ".j2"))]
TEMPLATES = [content.decode() for path, content in TREE.files.items() if path.endswith(".j2")]


@fuzzed
@given(hostile_text(YAML))
def test_strict_yaml(text: str) -> None:
    """Any text is read, or refused with its place; what was read is JSON, and is read the same when written again."""
    documents = only_ours(lambda: strict_yaml.load_all(text, path="f"))

    for document in documents or ():
        json.dumps(document.value, allow_nan=False)
        assert strict_yaml.load(strict_yaml.dump(document.value), path="g").value == document.value


@fuzzed
@given(JSON)
def test_what_is_written_as_yaml_is_read_the_same(value: Any) -> None:
    """Whatever keys and texts it has."""
    assert strict_yaml.load(strict_yaml.dump(value), path="f").value == value


@st.composite
def _trees(draw: st.DrawFn) -> Tree:
    """The example's files, some of which somebody got hold of."""
    files = dict(TREE.files)
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=2)):
        files[path] = draw(hostile([TREE.files[path]]))
    return Tree.of(files, commit="c" * 40)


@fuzzed
@given(_trees())
def test_an_environment_repository(tree: Tree) -> None:
    """It is read and rendered, or refused."""
    found = only_ours(lambda: repository.read(tree))
    if found:
        only_ours(lambda: render_inputs(inputs(found, "dev")))


@fuzzed
@given(hostile([TREE.files[layout.SIGNERS]]), hostile([TREE.files[layout.BINDINGS]]))
def test_trust_files(signers: bytes, bindings: bytes) -> None:
    """As the verifier reads them."""
    only_ours(lambda: trust_of({layout.SIGNERS: signers, layout.BINDINGS: bindings}, commit="c" * 40))


@fuzzed
@given(hostile_text(TEMPLATES), JSON)
def test_templates(text: str, value: Any) -> None:
    """A template with any value makes documents, or a RenderError."""
    set_ = {"t.yaml.j2": text}
    context = {"values": {"a": value, "port": 1}, "components": {}, "application": {"name": "shop"}}
    made = only_ours(lambda: TemplateSet(set_, folder="templates/t").render("t.yaml.j2", context))

    for each in made or ():
        json.dumps(each.body, allow_nan=False)


PLACES = (
    "a: {{ v }}\nb: x-{{ v }}-y\nc: '{{ v }}'\nd: |\n  # {{ v }}\n  end\ne: [{{ v }}, {k: {{ v }}}]\n{{ v }}-key: 1\n"
)


@fuzzed
@given(st.one_of(st.text(max_size=40), hostile_text(["x"])))
def test_a_text_stays_one_text_wherever_it_stands(value: str) -> None:
    """No value makes a key, a list's item or a document, however it is spelled; what no JSON can hold is refused."""
    try:
        (made,) = TemplateSet({"t.yaml.j2": PLACES}, folder="t").render("t.yaml.j2", {"v": value})
    except RenderError:
        assert any("\ud800" <= each <= "\udfff" for each in value) or value in {"a", "b", "c", "d", "e"}
        return
    assert made.body == {
        "a": value,
        "b": f"x-{value}-y",
        "c": value,
        "d": f"# {value}\nend\n",
        "e": [value, {"k": value}],
        f"{value}-key": 1,
    }


MAPPINGS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@fuzzed
@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_merging_values(one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]) -> None:
    """The later wins, nothing is lost, the order of merging does not matter, and nothing given is changed."""
    before = canonical.canonical([one, two])
    merged = repository.merge(one, two)

    assert repository.merge(one, {}) == one and repository.merge({}, one) == one and repository.merge(one, one) == one
    assert merged.keys() == one.keys() | two.keys()
    assert all(merged[key] == two[key] for key in two if not isinstance(two[key], dict))
    assert repository.merge(merged, two) == merged
    assert canonical.canonical([one, two]) == before


DOCKERFILES = [
    "# syntax=docker/dockerfile:1\nARG TAG=1\nFROM docker.io/library/python:${TAG} AS build\nCOPY --from=build /a /b\n",
    "FROM a/b@sha256:"
    + "1" * 64
    + '\nRUN --mount=type=bind,from=c/d,target=/x make\nADD --checksum=sha256:0 http://h/x /x\nCMD ["a"]\n',
    "FROM x\nRUN <<EOF\necho hi\nEOF\nENV A=b \\\n  C=d\n# escape=`\nUSER 1\n",
]


@fuzzed
@given(hostile_text(DOCKERFILES))
def test_dockerfiles(text: str) -> None:
    """What they take from elsewhere is found, or the line refused."""
    recipe = only_ours(lambda: read_references(text, path="Dockerfile"))
    only_ours(lambda: require_local(text, path="Dockerfile"))
    if recipe:
        only_ours(lambda: require_allowed(recipe, (BuildRules(images=("docker.io/*",)),)))
        recipe.pinned({each.name: "pinned@sha256:" + "0" * 64 for each in recipe.references})


MANIFESTS = {
    "package.json": b'{"name": "x", "dependencies": {"lodash": "^4"}}',
    "pyproject.toml": b'[project]\nname = "x"\ndependencies = ["requests>=2"]\n[tool.poetry.dependencies]\na = "3"\n',
    "requirements.txt": b"requests==2.31.0 --hash=sha256:abc\n-e git+https://h/x.git\n# x\nflask[async] >= 2 ; a\n",
    "Cargo.toml": b"[dependencies]\nserde = '1'\n",
    "composer.json": b'{"require": {"a/b": "*"}}',
    "Gemfile": b"gem 'rails'\n",
}


@fuzzed
@given(st.sampled_from(sorted(MANIFESTS)), hostile(list(MANIFESTS.values())))
def test_manifests_of_dependencies(name: str, content: bytes) -> None:
    """They are judged, whatever is in them."""
    assert is_manifest(name)
    only_ours(lambda: unlocked({name: content}, [name]))


DESCRIBED = [
    "format: 1\ncomponents:\n  web:\n    context: .\n    dockerfile: Dockerfile\n    tests:\n      command: [python]\n",
    "format: 1\ncomponents:\n  web:\n    arguments: {A: b}\n    tests:\n      command: [x]\n"
    "      services:\n        db:\n          image: a/b@sha256:" + "1" * 64 + "\n",
]


@fuzzed
@given(hostile_text(DESCRIBED))
def test_an_application_repositorys_own_file(text: str) -> None:
    """interlock.yaml, which every developer may write."""
    only_ours(lambda: strict_yaml.parse(text, ApplicationRepositoryFile, path="interlock.yaml"))


@fuzzed
@given(hostile_text(["spec.template.spec.containers[name=web].image", 'metadata.labels["a.b/c"]', "a[*].b[k=v,l=w]"]))
def test_paths_of_fields(text: str) -> None:
    """They are read, or a ValueError as promised; what was read is spelled so that it is read the same."""
    steps = only_ours(lambda: field_path.parse(text), also=(ValueError,))

    if steps:
        assert field_path.parse(field_path.spelled(steps)) == steps


@fuzzed
@given(st.lists(st.one_of(st.text(max_size=5), st.sampled_from(["a", "a.b/c", "[x]", ""])), max_size=4))
def test_paths_that_plans_tell(steps: list[str]) -> None:
    """Whatever keys an object has, the path that a plan shows is one that environment.yaml takes."""
    path = ("spec", *steps)

    assert field_path.parse(spell(path)) == path


@fuzzed
@given(hostile_text(["Release web\n\nInterlock-Environment: dev\nInterlock-Recovers: " + "0" * 40 + "\n"]))
def test_trailers_of_commits(text: str) -> None:
    """A message is anybody's."""
    only_ours(lambda: trailers.parse(text))
    only_ours(lambda: trailers.pairs(text))
