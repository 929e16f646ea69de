"""`interlock schema`: the form of what Interlock writes as JSON, for those who read it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from interlock.cli import output

EXAMPLES = """\b
Examples:
  interlock schema plan > plan.schema.json
"""


class Document(StrEnum):
    PLAN = "plan"


def schema(
    document: Annotated[Document, typer.Argument(help="What `interlock plan ENV --output json` writes.")],
) -> None:
    """Print the JSON Schema of a document."""
    from interlock.cd import plan_file

    output.show_json({Document.PLAN: plan_file.schema}[document]())
