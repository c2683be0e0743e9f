"""`page`, `fragment`: a self-contained page, or a piece of one, of this package's templates."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files as package_files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def page(template: str, **values: Any) -> str:
    """Return a page from one of this package's templates, with style and script embedded.

    Args:
        template: file name of the template.
        values: variables of the template.
    """
    style, script = _asset("report.css"), _asset("report.js")
    return (
        _environment()
        .get_template(template)
        .render(
            style=_trusted(style),
            style_digest=_digest(style),
            script=_trusted(script),
            script_digest=_digest(script),
            **values,
        )
    )


def fragment(template: str, **values: Any) -> str:
    """Return a piece of a page from one of this package's templates, without script.

    Args:
        template: file name of the template.
        values: variables of the template, which are escaped.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("safecompress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _asset(name: str) -> str:
    return package_files("safecompress.report").joinpath("templates", name).read_text("utf-8")


def _digest(content: str) -> str:
    """Return the hash by which a content security policy allows embedded code: SHA-256, base64."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _trusted(content: str) -> Markup:
    """Mark a file of this package as safe markup; text from a run must never be marked so."""
    return Markup(content)  # noqa: S704 - our own stylesheet and script
