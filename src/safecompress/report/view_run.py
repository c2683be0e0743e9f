"""`candidates`, `openness` and `facts`: the report's candidates, open questions and provenance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safecompress.report.lineage import Node
from safecompress.report.safe import mapping, number, sequence, text
from safecompress.report.view_comparison import measure_label
from safecompress.report.wording import MISSING, Value, count, figure, seconds, style_of

MOST_CANDIDATES, MOST_LIMITS, _MOST_FACTS, _DEEPEST = 1000, 40, 300, 6
_SEED = re.compile(r"^seed:\s*(\d{1,30})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class CandidateRow:
    """One line of the table of candidates."""

    anchor: str
    round: Value
    name: str
    proposal: str
    parent: str
    density: Value
    accuracy: Value
    measures: tuple[Value, ...]
    rank: Value
    fate: str
    css: str
    settle: Value
    tests: Value
    reason: str


@dataclass(frozen=True)
class Candidates:
    """The table of candidates: names of its attack columns, and rows."""

    measures: tuple[str, ...]
    rows: tuple[CandidateRow, ...]
    total: int


@dataclass(frozen=True)
class Fact:
    """One line of the provenance."""

    name: str
    value: str
    is_digest: bool = False


@dataclass(frozen=True)
class VerdictLimits:
    """What the verdict does not say."""

    threat_kind: str
    threat: str
    power: str
    smallest: str
    rows: str
    looks: str
    level: str
    scope: str
    limits: tuple[str, ...]


def candidates(nodes: Sequence[Node]) -> Candidates:
    """Return the table of candidates.

    Args:
        nodes: the candidates, in the order of the history.
    """
    names = list(dict.fromkeys(name for node in nodes for name in node.measures))[:12]
    rows = tuple(_candidate_row(node, names) for node in nodes[:MOST_CANDIDATES])
    return Candidates(tuple(measure_label(name) for name in names), rows, len(nodes))


def _candidate_row(node: Node, names: Sequence[str]) -> CandidateRow:
    fate = "discarded" if node.discarded else "chosen" if node.selected else "not chosen"
    css = "on-path" if node.on_path else fate.replace(" ", "-")
    settle, _, tests = node.seconds
    return CandidateRow(
        anchor=f"candidate-{node.index + 1}",
        round=Value.of(float(node.round), str(node.round)),
        name=node.name,
        proposal=node.proposal,
        parent=node.parent_name or MISSING,
        density=Value.of(node.density, figure(node.density, "percent")),
        accuracy=Value.of(node.accuracy, figure(node.accuracy, "percent")),
        measures=tuple(
            Value.of(node.measures.get(n), figure(node.measures.get(n), style_of(n))) for n in names
        ),
        rank=Value.of(node.rank, MISSING if node.rank is None else f"{node.rank:.0f}"),
        fate=fate,
        css=css,
        settle=Value.of(settle, seconds(settle)),
        tests=Value.of(tests, seconds(tests)),
        reason=node.reason,
    )


def openness(verdict: Mapping[str, Any]) -> VerdictLimits:
    """Return what the verdict does not say.

    Args:
        verdict: the document of verdict.json.
    """
    threat, power = mapping(verdict.get("threat_model")), mapping(verdict.get("power"))
    members, others = count(power.get("n_members")), count(power.get("n_nonmembers"))
    return VerdictLimits(
        threat_kind=text(threat.get("kind"), longest=60) or "not stated",
        threat=text(threat.get("text"), longest=1000),
        power=text(power.get("text"), longest=1000),
        smallest=figure(number(power.get("smallest_detectable_auc")), "auc"),
        rows=f"{members} members and {others} non-members",
        looks=count(verdict.get("looks")),
        level=figure(number(verdict.get("level")), "percent"),
        scope=text(verdict.get("scope"), longest=1000) or "not stated",
        limits=tuple(
            text(limit, longest=600) for limit in sequence(verdict.get("limits"))[:MOST_LIMITS]
        ),
    )


def facts(
    verdict: Mapping[str, Any], provenance: Mapping[str, Any], config: str
) -> tuple[Fact, ...]:
    """Return the provenance as lines; nested entries become dotted names.

    Args:
        verdict: the document of verdict.json.
        provenance: the document of provenance.json.
        config: the text of config.yaml.
    """
    model = mapping(verdict.get("model"))
    lines = [Fact("model", text(model.get("name"), longest=200))] if model.get("name") else []
    if model.get("lineage"):
        lines += _flattened({"lineage": model.get("lineage")}, "model.", 0)
    seed = _SEED.search(config)
    if seed is not None:
        lines.append(Fact("seed", seed[1]))
    rest = {name: value for name, value in provenance.items() if name != "seconds"}
    for fact in _flattened(rest, "", 0):
        if len(lines) >= _MOST_FACTS:
            lines.append(Fact("…", "more entries were left out"))
            break
        lines.append(fact)
    return tuple(lines)


def _flattened(entries: Mapping[str, Any], prefix: str, depth: int) -> Iterator[Fact]:
    for name, value in list(entries.items())[:_MOST_FACTS]:
        path = prefix + text(name, longest=80)
        if isinstance(value, Mapping) and value and depth < _DEEPEST:
            yield from _flattened(value, f"{path}.", depth + 1)
            continue
        words = _value_words(value)
        yield Fact(path, words, re.fullmatch(r"[0-9a-f]{16,128}", words) is not None)


def _value_words(value: object) -> str:
    if isinstance(value, list | tuple):
        some = ", ".join(text(item, longest=60) for item in value[:12])
        return some if len(value) <= 12 else f"{some}, … ({len(value):,} in all)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text(value, longest=300) or MISSING
