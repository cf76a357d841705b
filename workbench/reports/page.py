"""What every report page is made with: templates that escape, the hash of the style sheet, values by dotted name."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workbench.reports.escape import visible


def _shown(value: Any) -> Any:
    """Every text that reaches the page has its hidden characters written out; markup is only ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def page_templates() -> Environment:
    """The templates of the reports; what is put into them is escaped, and what is absent is an error."""
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("workbench.reports"),
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_text(name: str, **values: Any) -> str:
    """A template that is no markup, such as Markdown; what is absent is an error."""
    templates = Environment(
        autoescape=False,  # noqa: S701  (no browser reads it)
        undefined=StrictUndefined,
        loader=PackageLoader("workbench.reports"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template(name).render(**values)


def style_hash(css: str) -> str:
    """SHA-256 in base 64, as a Content-Security-Policy names the one style sheet that it allows."""
    return base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()


def dotted(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, text) of nested plain values; what is not text is shown as JSON."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from dotted(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, str):
        yield name, value
    else:
        yield name, json.dumps(value, ensure_ascii=False, default=str)
