"""`Tracker`: what an experiment tracker is told of a job, and `Job`, what it is told first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from safecompress.tracking.results import Results

Ending: TypeAlias = Literal["finished", "failed", "interrupted"]
Point: TypeAlias = tuple[Mapping[str, float], int]
"""Finite figures by name, and the step that they belong to."""


@dataclass(frozen=True)
class Job:
    """The job that is tracked.

    Args:
        kind: `compress`, `audit` or `compare`.
        name: name of the run in the tracker.
        settings: the settings, nested; environment variables stand in them by their names.
        folder: folder of the results; None where nothing is written.
        code: which code does it, such as versions and the commit.
    """

    kind: str
    name: str
    settings: Mapping[str, Any]
    folder: Path | None
    code: Mapping[str, str]


def code_of(made_with: Mapping[str, Any]) -> dict[str, str]:
    """Return which code does a job, as texts.

    Args:
        made_with: what `surroundings` says of versions and the commit.
    """
    wanted = {"version": "safecompress", "commit": "commit", "torch": "torch"}
    return {name: str(made_with[key]) for name, key in wanted.items() if made_with.get(key)}


class Tracker(ABC):
    """Writes one job into one tracker. All calls come from one thread, in this order."""

    @abstractmethod
    def begin(self, job: Job, *, earlier: str | None) -> str | None:
        """Begin a run in the tracker.

        Args:
            job: the job.
            earlier: what `begin` returned before the job was interrupted; None for a new job.

        Returns:
            The run's name in the tracker, by which a resumed job goes on with it; None where a
            resumed job begins a new one.
        """

    @abstractmethod
    def log(self, points: Sequence[Point]) -> None:
        """Write figures of curves.

        Args:
            points: at least one.
        """

    @abstractmethod
    def results(self, results: Results) -> None:
        """Write final figures, tags and files.

        Args:
            results: how the job ended.
        """

    @abstractmethod
    def end(self, ending: Ending) -> None:
        """End the run in the tracker.

        Args:
            ending: how the job ended.
        """


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as texts by dotted names; unset and empty ones are left out.

    Args:
        settings: the settings.
        prefix: what names begin with.

    >>> flat({"sparse": {"density": 0.1}, "out": None})
    {'sparse.density': '0.1'}
    """
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif value is not None and value not in ([], (), ""):
            found[name] = str(value)
    return found
