"""`markdown_summary`: a verdict in a few lines of Markdown, for pull requests and CI jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safecompress.report.conditions import condition_words
from safecompress.report.safe import mapping, mappings, text
from safecompress.report.wording import Span

_MOST_ROWS = 60


def markdown_summary(verdict: Mapping[str, Any]) -> str:
    """Return the verdict, its checks as a table, and its scope.

    Args:
        verdict: the document of verdict.json.
    """
    model = table_cell(mapping(verdict.get("model")).get("name")) or "model"
    lines = [
        f"### {table_cell(verdict.get('verdict')) or 'ERROR'}: {model}",
        "",
        table_cell(verdict.get("sentence")),
        "",
        "| check | measured | wanted | |",
        "|---|---|---|---|",
    ]
    checks = mappings(verdict.get("checks"))
    for check in checks[:_MOST_ROWS]:
        span = Span.read(check)
        measured = "" if span.value is None else f"{span.value:.3f}"
        if span.value is not None and span.low is not None and span.high is not None:
            measured += f" [{span.low:.3f}, {span.high:.3f}]"
        wanted = condition_words(check.get("condition"))
        name, status = table_cell(check.get("name")), table_cell(check.get("status"))
        lines.append(f"| {name} | {measured} | {table_cell(wanted)} | {status} |")
    if len(checks) > _MOST_ROWS:
        lines.append(f"| … and {len(checks) - _MOST_ROWS} more | | | |")
    lines += ["", f"Scope: {table_cell(verdict.get('scope')) or 'not stated'}.", ""]
    return "\n".join(lines)


def table_cell(value: object) -> str:
    """Return text in which no character ends the cell or begins other markup.

    Args:
        value: text or a number; anything else becomes empty.
    """
    cleaned = text(value, longest=600)
    for mark, harmless in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "'")):
        cleaned = cleaned.replace(mark, harmless)
    return " ".join(cleaned.split())
