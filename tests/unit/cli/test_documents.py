"""What the documents show is what the product does."""

from __future__ import annotations

import re
from pathlib import Path

from interlock.contract import strict_yaml
from interlock.contract.attesters import AttestersFile, ImagesFile
from interlock.contract.models import (
    ApplicationFile,
    BindingsFile,
    EnvironmentFile,
    EnvironmentsFile,
    File,
    GateFile,
    HealthFile,
    RulesFile,
    SignersFile,
    WaiversFile,
)
from interlock.contract.render import render
from interlock.contract.repository import read
from interlock.contract.tree import Tree
from interlock.errors import InterlockError

ROOT = Path(__file__).resolve().parents[3]
FORMAT = ROOT / "docs" / "environment-repository.md"
MODELS: dict[str, type[File]] = {
    "environments.yaml": EnvironmentsFile,
    "trust/signers.yaml": SignersFile,
    "trust/bindings.yaml": BindingsFile,
    "trust/attesters.yaml": AttestersFile,
    "policy/images.yaml": ImagesFile,
    "policy/gate.yaml": GateFile,
    "policy/waivers.yaml": WaiversFile,
    "policy/health.yaml": HealthFile,
    "policy/rules.yaml": RulesFile,
    "applications/shop/application.yaml": ApplicationFile,
    "environments/dev/environment.yaml": EnvironmentFile,
}


def shown() -> dict[str, str]:
    """Each file that the page shows under its path."""
    sections = re.split(r"^### ", FORMAT.read_text(), flags=re.MULTILINE)[1:]
    fenced = {
        each.partition("\n")[0]: re.search(r"^```yaml\n(.*?)^```", each, re.MULTILINE | re.DOTALL) for each in sections
    }
    return {path: found[1] for path, found in fenced.items() if found}


def test_the_files_of_the_format_page_are_one_valid_repository() -> None:
    """A reader can copy them, and what they have left out is said to be optional."""
    files = shown()
    templates = ROOT / "templates" / "sets" / "service"
    tree = Tree.of(
        {path: text.encode() for path, text in files.items()}
        | {f"templates/service/{path.name}": path.read_bytes() for path in templates.glob("*.j2")}
    )
    repository = read(tree)
    rendered = render(repository, "dev", placeholder="never.released")

    assert {manifest.identity.kind for manifest in rendered.manifests} == {"Namespace", "Deployment", "Service"}
    assert repository.waivers[0].finding == "CVE-2026-1234"


def test_the_format_page_shows_every_field_of_every_model() -> None:
    """A new field is a new line of the page."""
    files = shown()

    assert MODELS.keys() <= files.keys()
    for path, model in MODELS.items():
        text = files[path]
        assert strict_yaml.parse(text, model, path=path)
        missing = [name for name in model.model_fields if not re.search(rf"\b{name}:", text)]
        assert not missing, f"{path} does not show {missing}"


def test_the_templates_page_keeps_its_promise() -> None:
    """The example of the page: a label with a line break stays one label."""
    values, template = re.findall(
        r"^```\n# \S+\n(.*?)^```", (ROOT / "docs/templates.md").read_text(), re.MULTILINE | re.DOTALL
    )
    head = "apiVersion: v1\nkind: Service\n" + template.replace("metadata:\n", "metadata:\n  name: x\n")
    files = {path: text.encode() for path, text in shown().items()} | {
        "applications/shop/values.yaml": values.encode(),
        "templates/service/x.yaml.j2": head.encode(),
    }
    rendered = render(read(Tree.of(files)), "dev", placeholder="never.released")
    (service,) = [manifest.body for manifest in rendered.manifests if manifest.body["kind"] == "Service"]

    assert service["metadata"]["labels"] == {"team": "front: end\nadmin: true"}
    assert service["spec"]["ports"] == [{"port": 8080, "name": "p8080"}]


def test_links_between_the_documents_lead_somewhere() -> None:
    """Every relative link of every page names a file."""
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        ROOT / "examples/service/README.md",
    ]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert not broken


def test_the_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    """The table has every code that an error can have."""
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    errors = [InterlockError]
    for error in errors:
        errors.extend(error.__subclasses__())

    assert codes == {error.exit_code for error in errors} | {70, 130}
