"""`markdown_summary`: a verdict in a few lines of Markdown, for pull requests and CI jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safecompress.report.conditions import condition_words
from safecompress.report.document_facts import checks_of, file_of, status_of
from safecompress.report.safe import LONGEST_SENTENCE, mapping, sequence, text
from safecompress.report.view_set import set_lines, set_view
from safecompress.report.wording import Span

_MOST_ROWS = 60
_HARMLESS = {
    "\\": "\\\\",
    "|": "\\|",
    "<": "&lt;",
    "`": "'",
    "[": "\\[",
    "]": "\\]",
    "://": "&#58;//",
}
"""By mark that ends a cell or begins a link, a picture or other markup, what shows it as it is."""
_MENTION = re.compile(r"@(?=[A-Za-z])")


def markdown_summary(verdict: Mapping[str, Any]) -> str:
    """Return the verdict, its checks as a table, and its scope.

    Args:
        verdict: the document of verdict.json, or of an exported file.
    """
    model = mapping(verdict.get("model"))
    name = table_cell(model.get("name")) or table_cell(file_of(verdict))
    lines = [
        f"### {table_cell(status_of(verdict))}: {name}",
        "",
        table_cell(verdict.get("sentence"), longest=LONGEST_SENTENCE),
        "",
        *_bullets("Next", verdict.get("next_steps")),
        *_bullets("Noticed", verdict.get("remarks")),
        *_set(verdict),
        "| check | measured | wanted | |",
        "|---|---|---|---|",
    ]
    checks = checks_of(verdict)
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
    if standard := table_cell(verdict.get("standard"), longest=LONGEST_SENTENCE):
        lines += ["", f"Standard: {standard}"]
    lines += ["", f"Scope: {table_cell(verdict.get('scope')) or 'not stated'}.", ""]
    return "\n".join(lines)


def _set(verdict: Mapping[str, Any]) -> list[str]:
    """Return files that are published together as a table; nothing for a single model."""
    view = set_view(verdict)
    if view is None:
        return []
    rows = (tuple(map(table_cell, line)) for line in set_lines(verdict))
    lines = ["| held | strongest attack | its AUC |", "|---|---|---|"]
    lines += [f"| {held} | {attack} | {auc} |" for held, attack, auc in rows]
    return [*lines, "", *([table_cell(view.exposed), ""] if view.exposed else [])]


def _bullets(label: str, items: object) -> list[str]:
    """Return sentences as a list, and an empty line; nothing where there are none."""
    shown = [table_cell(item, longest=LONGEST_SENTENCE) for item in sequence(items)[:_MOST_ROWS]]
    return [*(f"- {label}: {item}" for item in shown if item), ""] if any(shown) else []


def table_cell(value: object, *, longest: int = 600) -> str:
    """Return text in which no character ends the cell or begins other markup.

    Args:
        value: text or a number; anything else becomes empty.
        longest: characters after which it is cut.
    """
    cleaned = text(value, longest=longest)
    for mark, harmless in _HARMLESS.items():
        cleaned = cleaned.replace(mark, harmless)
    # A name in a pull request would notify the person or the team that it names.
    return " ".join(_MENTION.sub("&#64;", cleaned).split())
