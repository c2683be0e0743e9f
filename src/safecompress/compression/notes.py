"""`Notes`: the facts of a run, beside its candidates, that a checkpoint stores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from safecompress.train import ProbedSettings


@dataclass(frozen=True)
class Notes:
    """What a resumed run has to know besides its candidates.

    Args:
        seconds: how long each part of the run has taken so far, by what it made.
        saved: files of the stages that have ended.
        settings: precision and memory format found by timing, by stage; every trainer of a stage
            shares them, and a resumed run must not time anew.
        best_score: the best score of an objective in any round; None before there is a finite one.
        rounds_without_gain: rounds since it last rose.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    saved: tuple[str, ...] = ()
    settings: Mapping[str, ProbedSettings] = field(default_factory=dict)
    best_score: float | None = None
    rounds_without_gain: int = 0

    def with_seconds(self, what: str, seconds: float) -> Notes:
        """Return the notes with more time spent on a part of the run."""
        total = self.seconds.get(what, 0.0) + seconds
        return replace(self, seconds=dict(self.seconds) | {what: total})

    def with_saved(self, file: str) -> Notes:
        """Return the notes once a stage has ended in a file."""
        return replace(self, saved=(*self.saved, file))

    def with_settings(self, stage: str, settings: ProbedSettings) -> Notes:
        """Return the notes once a stage's settings have been found."""
        return replace(self, settings=dict(self.settings) | {stage: settings})

    def with_score(self, score: float) -> Notes:
        """Return the notes after a round whose best candidate has this score, -inf without one."""
        if self.best_score is not None and not score > self.best_score:
            return replace(self, rounds_without_gain=self.rounds_without_gain + 1)
        return replace(
            self, best_score=score if math.isfinite(score) else None, rounds_without_gain=0
        )

    def to_json(self) -> dict[str, Any]:
        """Return the notes as JSON values, as a checkpoint stores them."""
        return {
            "seconds": dict(self.seconds),
            "saved": list(self.saved),
            "settings": {stage: found.to_json() for stage, found in self.settings.items()},
            "best_score": self.best_score,
            "rounds_without_gain": self.rounds_without_gain,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Notes:
        """Return the notes that `to_json` wrote."""
        settings = {
            stage: ProbedSettings.from_json(found) for stage, found in stored["settings"].items()
        }
        return cls(
            seconds=dict(stored["seconds"]),
            saved=tuple(stored["saved"]),
            settings=settings,
            best_score=stored["best_score"],
            rounds_without_gain=stored["rounds_without_gain"],
        )
