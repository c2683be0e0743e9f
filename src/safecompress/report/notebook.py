"""`verdict_card` and `table_card`: results as a notebook shows them, short and escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from safecompress.report.conditions import condition_words
from safecompress.report.document_facts import checks_of, status_of
from safecompress.report.html import REPORT
from safecompress.report.page import fragment
from safecompress.report.safe import LONGEST_SENTENCE, mapping, mappings, number, sequence, text
from safecompress.report.view_verdict import Badge
from safecompress.report.wording import Span, figure, interval, style_of

_MOST_CHECKS, _MOST_ROWS = 40, 60


def verdict_card(document: Mapping[str, Any], *, kind: str, folder: Path | None = None) -> str:
    """Return a verdict as a piece of HTML: its word, its sentence, what to do next, its checks.

    Every text of the document is escaped. The colors suit light and dark pages.

    Args:
        document: the JSON of a verdict on a run, an audited model or an exported file.
        kind: what it is the verdict on, such as `Run`.
        folder: folder of the report, which is linked to; None where there is none.
    """
    checks = checks_of(document)
    return fragment(
        "notebook.html.j2",
        kind=kind,
        badge=Badge.of(status_of(document)),
        name=text(mapping(document.get("model")).get("name"), longest=120),
        sentence=text(document.get("sentence"), longest=LONGEST_SENTENCE),
        steps=[text(step, longest=600) for step in sequence(document.get("next_steps"))],
        head=("", "check", "figure", "interval", "wanted"),
        rows=[_check(check) for check in checks[:_MOST_CHECKS]],
        left=max(0, len(checks) - _MOST_CHECKS),
        report=_address(folder),
    )


def table_card(document: Mapping[str, Any]) -> str:
    """Return a comparison as a piece of HTML.

    Args:
        document: the JSON of `table.json`.
    """
    rows = mappings(document.get("rows"))
    return fragment(
        "notebook.html.j2",
        kind="Comparison",
        badge=None,
        name="",
        sentence="Every figure is on rows that took part in no choice.",
        steps=[],
        head=("", "data", "density", "method", "accuracy", "strongest attack", "its AUC"),
        rows=[_compared(row) for row in rows[:_MOST_ROWS]],
        left=max(0, len(rows) - _MOST_ROWS),
        report="",
    )


def _check(check: Mapping[str, Any]) -> tuple[Any, ...]:
    name, span = text(check.get("name")), Span.read(check)
    style = style_of(name)
    return (
        Badge.of(check.get("status")),
        name,
        figure(span.value, style),
        interval(span, style),
        text(condition_words(check.get("condition"))),
    )


def _compared(row: Mapping[str, Any]) -> tuple[Any, ...]:
    strongest = mapping(row.get("strongest"))
    density = number(row.get("density"))
    spans = [_mean(row.get("accuracy"), "accuracy"), _mean(strongest, "loss.auc")]
    return (
        None,
        text(row.get("data")),
        "" if density is None else f"{density:g}",
        text(row.get("method")),
        spans[0],
        text(strongest.get("attack")),
        spans[1],
    )


def _mean(source: object, measure: str) -> str:
    given = mapping(source)
    span, style = Span.read({"value": given.get("mean"), **given}), style_of(measure)
    return f"{figure(span.value, style)} {interval(span, style)}"


def _address(folder: Path | None) -> str:
    """Return the address of a report; relative where it lies below the current folder."""
    if folder is None or not (folder / REPORT).is_file():
        return ""
    path = (folder / REPORT).resolve()
    here = Path.cwd()
    # The dot keeps a folder's name from being read as the scheme of an address.
    return f"./{quote(str(path.relative_to(here)))}" if path.is_relative_to(here) else path.as_uri()
