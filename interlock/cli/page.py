"""Reports as HTML pages: one file, nothing from elsewhere, everything escaped."""

from __future__ import annotations

import datetime as dt

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from interlock import __version__
from interlock.cli.packaged import templates


def page(template: str, **values: object) -> str:
    """A template of templates/reports with these values. What comes from outside is text in it, never markup."""
    made = Environment(
        loader=FileSystemLoader(templates() / "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return made.get_template(template).render(**values, written=written, version=__version__)
