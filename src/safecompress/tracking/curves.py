"""`Curves`: the events of a job as figures over its steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safecompress.events import Event
from safecompress.tracking.results import finite
from safecompress.tracking.tracker import Point

_CANDIDATE = re.compile(r"r\d+(p\d+c\d+)(/\d+)?")
_ROUND = re.compile(r"round \d+ ")
_LAST = {"final": "parent-1"}
"""The best candidate is the first parent that goes on; its last training continues that curve."""


class Curves:
    """Reads figures off events.

    Curves have the same names in every round: `p1c2` is the second proposal to the first parent.
    """

    def __init__(self) -> None:
        self._tested: dict[str, Mapping[str, Any]] = {}

    def points(self, event: Event) -> list[Point]:
        """Return the figures of an event, each group with its step.

        Args:
            event: any event of a job.
        """
        data = event.data
        if event.kind == "progress":
            losses: Mapping[str, float] = data.get("losses", {})
            return [
                (finite({f"{place}/loss": loss, f"{place}/lr": data["lr"]}), int(data["done"]))
                for piece, loss in losses.items()
                for place in [_place(str(data["stage"]), piece)]
            ]
        if event.kind == "candidate" and data.get("status") != "discarded":
            name = str(data["candidate"])
            self._tested[name] = data
            return [(_figures(f"candidate/{_label(name)}", data), int(data["step"]))]
        if event.kind == "selected" and (record := self._tested.get(str(data.get("candidate")))):
            self._tested.clear()
            return [(_figures("selected", record), int(record["step"]))]
        return []


def _place(stage: str, piece: str) -> str:
    return f"train/{stage}" if piece == stage else f"train/{stage}/{_label(piece)}"


def _label(piece: str) -> str:
    found = _CANDIDATE.fullmatch(piece)
    plain = found[1] if found else _ROUND.sub("", piece).replace(" ", "-")
    return _LAST.get(plain, plain)


def _figures(place: str, record: Mapping[str, Any]) -> dict[str, float]:
    figures = {"accuracy": record.get("accuracy")} | dict(record.get("measures") or {})
    return finite({f"{place}/{name}": value for name, value in figures.items()})
