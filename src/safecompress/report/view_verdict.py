"""`Badge`, `hero`: the report's verdict in a word and a sentence, and its key figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safecompress.report.document_facts import status_of
from safecompress.report.safe import (
    LONGEST_SENTENCE,
    mapping,
    mappings,
    number,
    sequence,
    short,
    text,
)
from safecompress.report.view_comparison import subjects_of
from safecompress.report.wording import (
    MISSING,
    Span,
    count,
    figure,
    interval,
    style_of,
    with_interval,
)
from safecompress.verdict_names import COMPRESSED, DENSE

_MOST_SENTENCES, _LONGEST_HEADLINE = 30, 120
_WORDS = {
    "PASS": "pass",
    "FAIL": "fail",
    "INCONCLUSIVE": "inconclusive",
    "WARN": "warning",
    "ERROR": "error",
    "NOT_RUN": "not run",
}
_SENTENCES = {
    "PASS": "Every critical check passed.",
    "FAIL": "At least one critical check failed.",
    "INCONCLUSIVE": "There were too few points to decide.",
}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
CONTROL = "control:"


@dataclass(frozen=True)
class Badge:
    """A status: its word, and the class that gives it color and sign."""

    word: str
    css: str

    @classmethod
    def of(cls, status: object) -> Badge:
        """Return the badge of a status; an unknown status is shown as an error.

        Args:
            status: the status in verdict.json.
        """
        name = text(status, longest=40)
        return cls(_WORDS.get(name, name or "error"), _css(name))


def _css(status: str) -> str:
    return status.lower().replace("_", "-") if status in _WORDS else "error"


@dataclass(frozen=True)
class Tile:
    """One key figure."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Strongest:
    """The attack that finds most: its AUC, and that on the dense model where there is one."""

    attack: str
    span: Span
    dense: float | None


@dataclass(frozen=True)
class Hero:
    """The top of the page.

    Args:
        badge: the verdict in one word.
        sentence: its first sentence, shortened where it is too long for the first screen.
        rest: what follows it, or the whole where it was shortened.
        remarks: what was noticed.
        standard: what the limits follow.
        tiles: key figures.
    """

    badge: Badge
    sentence: str
    rest: str
    remarks: tuple[str, ...]
    standard: str
    tiles: tuple[Tile, ...]


def hero(verdict: Mapping[str, Any]) -> Hero:
    """Return the top of the page.

    Args:
        verdict: the document of verdict.json.
    """
    status = status_of(verdict) if "status" in verdict else text(verdict.get("verdict"), longest=40)
    sentence = text(verdict.get("sentence"), longest=LONGEST_SENTENCE)
    first, _, rest = _SENTENCE_END.sub("\n", sentence, count=1).partition("\n")
    if len(first) > _LONGEST_HEADLINE:
        first, rest = short(first, _LONGEST_HEADLINE), sentence
    known = "No verdict: the tests could not be trusted or did not run."
    return Hero(
        Badge.of(status) if status in {*_SENTENCES, "ERROR"} else Badge(status or "error", "error"),
        first or _SENTENCES.get(status, known),
        rest,
        _sentences(verdict.get("remarks")),
        text(verdict.get("standard"), longest=LONGEST_SENTENCE),
        (_size(verdict), _accuracy(verdict), _strongest(verdict), _passed(verdict)),
    )


def _sentences(items: object) -> tuple[str, ...]:
    shown = (text(item, longest=LONGEST_SENTENCE) for item in sequence(items)[:_MOST_SENTENCES])
    return tuple(item for item in shown if item)


def judged(verdict: Mapping[str, Any]) -> str:
    """Return the name of the judged model in the comparison.

    Args:
        verdict: the document of verdict.json.
    """
    return text(verdict.get("judged"), longest=80) or COMPRESSED


def _size(verdict: Mapping[str, Any]) -> Tile:
    model = mapping(verdict.get("model"))
    if verdict.get("kind") in ("audit", "joint"):
        power = mapping(verdict.get("power"))
        rows = f"{count(power.get('n_members'))} + {count(power.get('n_nonmembers'))}"
        return Tile("Rows", rows, "members and non-members whose outputs were recorded")
    kept = f"{count(model.get('nonzeros'))} of {count(model.get('maskable'))} maskable weights kept"
    detail = kept if number(model.get("nonzeros")) is not None else "share of the weights kept"
    return Tile("Density", figure(number(model.get("density")), "percent"), detail)


def _accuracy(verdict: Mapping[str, Any]) -> Tile:
    model = mapping(verdict.get("model"))
    entries = subjects_of(verdict)
    accuracy = Span.read(mapping(entries.get(judged(verdict))).get("accuracy"))
    value = accuracy.value if accuracy.value is not None else number(model.get("accuracy"))
    dense = number(mapping(model.get("dense")).get("accuracy"))
    if dense is None:
        dense = Span.read(mapping(entries.get(DENSE)).get("accuracy")).value
    if dense is None:
        return Tile(
            "Accuracy", figure(value, "percent"), interval(accuracy, "percent") or "no dense model"
        )
    differences = mapping(mapping(entries.get(judged(verdict))).get("difference_to_dense"))
    gap = Span.read(differences.get("accuracy"))
    detail = f"dense model {figure(dense, 'percent')}"
    if gap.value is not None:
        detail += f"; difference {with_interval(gap, 'percent', signed=True)}"
    return Tile("Accuracy", figure(value, "percent"), detail)


def strongest(verdict: Mapping[str, Any]) -> Strongest | None:
    """Return the attack that finds most with the judged model; None where none was compared.

    Args:
        verdict: the document of verdict.json.
    """
    entries = subjects_of(verdict)
    attacks = mapping(mapping(entries.get(judged(verdict))).get("attacks"))
    spans = [
        (Span.read(v), text(k, longest=80)) for k, v in attacks.items() if style_of(str(k)) == "auc"
    ]
    # Of a set, whoever holds only some of its files may find more than whoever holds all.
    spans += [
        (Span.read(mapping(held.get("auc"))), text(held.get("attack"), longest=80))
        for held in _holdings(verdict)
    ]
    known = [(span.value, name, span) for span, name in spans if span.value is not None]
    if not known:
        return None
    _, name, span = max(known, key=lambda item: item[0])
    dense = Span.read(mapping(mapping(entries.get(DENSE)).get("attacks")).get(name)).value
    return Strongest(name.removesuffix(".auc"), span, dense)


def _holdings(verdict: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return what is found by the holders of a file, of a pair and of all files of a set."""
    if verdict.get("kind") != "joint":
        return ()
    several = (mapping(verdict.get("best_pair")), mapping(verdict.get("family")))
    return (*mappings(verdict.get("files")), *mappings(verdict.get("pairs")), *several)


def _strongest(verdict: Mapping[str, Any]) -> Tile:
    found = strongest(verdict)
    if found is None:
        return Tile("Strongest attack", MISSING, "no attack was compared")
    detail = f"{interval(found.span, 'auc')} AUC of the attack “{found.attack}”; guessing is .500"
    if found.dense is not None:
        detail += f", the dense model {figure(found.dense, 'auc')}"
    return Tile("Strongest attack", figure(found.span.value, "auc"), detail.strip())


def _passed(verdict: Mapping[str, Any]) -> Tile:
    checks = mappings(verdict.get("checks"))
    controls = [c for c in checks if is_control(c)]
    critical = [c for c in checks if c.get("critical") is True and not is_control(c)]
    others = len(checks) - len(controls) - len(critical)
    details = [f"{others} more only inform"] if others else []
    if controls:
        details.append(f"{_count_passed(controls)} of {len(controls)} controls of the tests held")
    ratio = f"{_count_passed(critical)} of {len(critical)}"
    return Tile("Critical checks passed", ratio, "; ".join(details))


def _count_passed(checks: Sequence[Mapping[str, Any]]) -> int:
    return sum(c.get("status") == "PASS" for c in checks)


def is_control(check: Mapping[str, Any]) -> bool:
    """Return whether a check tests the tests, not the model.

    Args:
        check: an entry of the list `checks`.
    """
    return text(check.get("name")).startswith(CONTROL)
