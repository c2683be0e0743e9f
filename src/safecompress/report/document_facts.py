"""What every verdict document says: `status_of`, `checks_of`, `limit_of`, `file_of` and more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safecompress.report.conditions import condition_words, parse_limit
from safecompress.report.safe import mapping, mappings, text
from safecompress.report.wording import Span

_LONGEST = 2000


def status_of(document: Mapping[str, Any]) -> str:
    """Return the status of a whole verdict; ERROR where there is none.

    Args:
        document: the verdict on a run or an audited model, or the document of an exported file.
    """
    stated = document.get("verdict", document.get("status"))
    return text(stated, longest=40) or "ERROR"


def checks_of(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the checks of a verdict; those of an exported file with the run's, repeated on it.

    Args:
        document: the verdict on a run or an audited model, or the document of an exported file.
    """
    repeated = mapping(document.get("retest")).get("checks")
    return (*mappings(document.get("checks")), *mappings(repeated))


def limit_of(verdict: Mapping[str, Any], measure: str) -> float | None:
    """Return the figure that a measure may have at most or at least; None where no check says so.

    Limits relative to the dense model are left out, because they are of a difference.

    Args:
        verdict: the document of verdict.json.
        measure: the measure's name, such as `loss.auc`.
    """
    for check in checks_of(verdict):
        name = measured_name(check)
        if name == measure or name.startswith(f"{measure} "):
            limit = parse_limit(check.get("condition"))
            if limit is not None and not limit.relative:
                return limit.bound
    return None


def measured_name(check: Mapping[str, Any]) -> str:
    """Return what a check measures and asks, without the name of the file that it is about.

    Args:
        check: an entry of the list `checks`.
    """
    name = text(check.get("name"), longest=600)
    # Of files that are judged together, the names of files stand before what was measured.
    return name if name.startswith("control: ") else name.rpartition(": ")[2]


def file_of(document: Mapping[str, Any]) -> str:
    """Return the name of the judged file, or of the model where the document names no file.

    Args:
        document: the verdict on a run or an audited model, or the document of an exported file.
    """
    exported = text(mapping(document.get("file")).get("name"))
    if exported:
        return exported
    if document.get("kind") == "compress":
        return "model.safetensors"
    return text(mapping(document.get("model")).get("name")) or "model"


def said_of_check(check: Mapping[str, Any]) -> str:
    """Return the figure of a check, what was asked, its message and its advice, in one line.

    Args:
        check: an entry of the list `checks`.
    """
    span = Span.read(check)
    parts = []
    if span.value is not None:
        parts.append(f"measured {span.value:.4g}")
        if span.low is not None and span.high is not None:
            parts[0] += f" [{span.low:.4g}, {span.high:.4g}]"
    if condition := condition_words(check.get("condition")):
        parts.append(f"wanted {condition}")
    if remark := text(check.get("message"), longest=_LONGEST):
        parts.append(remark)
    if advice := text(check.get("advice"), longest=_LONGEST):
        parts.append(advice)
    return "; ".join(parts)
