"""`Node` and `read_nodes`: the candidates of a search's history, linked to their parents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from safecompress.report.safe import mapping, number, text

# Candidates refer to a parent by round and rank: r3p1 is the best one that entered round 3.
_PLACE = re.compile(r"r(\d{1,6})p(\d{1,6})")


@dataclass(frozen=True)
class Node:
    """One candidate.

    Args:
        index: its position in the history, from 0.
        round: the round in which it was proposed.
        name: its name.
        proposal: name of the proposal that made it.
        parent_name: recorded name of its parent.
        parent: index of its parent; None where it came from the start.
        accuracy: on the steering rows, in [0, 1]; None where it was not measured.
        density: existing share of the maskable weights, in [0, 1]; None where it is not recorded.
        step: training steps so far; None where they are not recorded.
        rank: rank in its round, the best first; None where it was not ranked.
        measures: figures of attacks and further risks by name.
        cosine: cosine of its input gradients with the dense model's, in [-1, 1].
        seconds: seconds of settling, of computing outputs and of all tests.
        selected: whether it was kept for the next round.
        discarded: whether it was discarded before it was tested.
        on_path: whether it is the final model or one of its ancestors.
        reason: why it was ranked or discarded, in words.
    """

    index: int
    round: int
    name: str
    proposal: str
    parent_name: str
    parent: int | None
    accuracy: float | None
    density: float | None
    step: float | None
    rank: float | None
    measures: Mapping[str, float | None]
    cosine: float | None
    seconds: tuple[float | None, float | None, float | None]
    selected: bool
    discarded: bool
    on_path: bool
    reason: str


def read_nodes(history: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """Return one node per line of the history, with parents resolved.

    Args:
        history: the lines of history.jsonl.
    """
    nodes = [_node(index, line) for index, line in enumerate(history)]
    populations = _populations(nodes)
    named: dict[str, int] = {}
    linked = []
    for node in nodes:
        parent = named.get(node.parent_name)
        if parent is None:
            parent = _by_place(node.parent_name, populations)
        if parent is not None and nodes[parent].round >= node.round:
            parent = None
        linked.append(replace(node, parent=parent))
        named[node.name] = node.index
    path = set(_ancestors(linked, populations))
    return tuple(replace(node, on_path=node.index in path) for node in linked)


def _node(index: int, line: Mapping[str, Any]) -> Node:
    seconds = mapping(line.get("seconds"))
    tests = [number(v) for v in mapping(seconds.get("tests")).values()]
    tested = sum(v for v in tests if v is not None) if any(v is not None for v in tests) else None
    measures = list(mapping(line.get("measures")).items())[:12]
    round_number = number(line.get("round"))
    return Node(
        index=index,
        round=int(min(max(round_number, 0.0), 1e9)) if round_number is not None else 0,
        name=text(line.get("candidate"), longest=80) or f"candidate {index + 1}",
        proposal=text(line.get("proposal"), longest=80) or "–",
        parent_name=text(line.get("parent"), longest=80),
        parent=None,
        accuracy=number(line.get("accuracy")),
        density=number(line.get("density")),
        step=number(line.get("step")),
        rank=number(line.get("rank")),
        measures={text(name, longest=80): number(value) for name, value in measures},
        cosine=number(line.get("cosine")),
        seconds=(number(seconds.get("settle")), number(seconds.get("outputs")), number(tested)),
        selected=line.get("selected") is True,
        discarded=line.get("status") == "discarded",
        on_path=False,
        reason=text(line.get("reason"), longest=400),
    )


def _populations(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """Return the indices of the candidates kept after each round, best first.

    After a round that kept none, those of the round before remain.
    """
    populations: dict[int, list[int]] = {}
    last: list[int] = []
    for number_ in sorted({node.round for node in nodes}):
        chosen = [n for n in nodes if n.round == number_ and n.selected]
        chosen.sort(key=lambda n: (n.rank is None, n.rank or 0.0, n.index))
        last = [n.index for n in chosen] or last
        populations[number_] = last
    return populations


def _by_place(parent: str, populations: Mapping[int, list[int]]) -> int | None:
    match = _PLACE.fullmatch(parent)
    if match is None:
        return None
    alive = populations.get(int(match[1]) - 1, [])
    place = int(match[2]) - 1
    return alive[place] if 0 <= place < len(alive) else None


def _ancestors(nodes: Sequence[Node], populations: Mapping[int, list[int]]) -> Iterator[int]:
    last = populations[max(populations)] if populations else []
    index = last[0] if last else None
    while index is not None:
        yield index
        index = nodes[index].parent
