"""Render the page: one self-contained file, no script, nothing fetched, every text escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recommender.reporting import sections, verdict_sections
from recommender.reporting.material import Material

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "page.html.j2"

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of the page: titles come from outside, so nothing may run or be fetched."""


def render(material: Material) -> str:
    """Return the page as HTML."""
    template = _environment().get_template(TEMPLATE)
    return template.render(
        head=verdict_sections.headline(material),
        sections=sections.build(material),
        policy=POLICY,
    )


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # the only exemption is the SVG that ``style`` has written
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    return environment
