"""`Notes`: the facts of a run, beside its candidates, that a checkpoint stores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from safecompress.train import Arithmetic


@dataclass(frozen=True)
class Notes:
    """What a resumed run has to know besides its candidates.

    Args:
        seconds: seconds that each part of the run has taken so far, by the name of the part.
        saved: file names of the finished stages' models.
        settings: precision and memory format by stage. All trainers of a stage share them, and a
            resumed run does not choose again, because timing could choose others.
        best_score: the best score of the objective in any round; None before a finite one.
        rounds_without_gain: rounds since the best score last rose.
        stacks: whether candidates may be trained as one stack. False once a stack did not fit into
            memory: sums are then taken in another order, so a resumed run must not try it again.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    saved: tuple[str, ...] = ()
    settings: Mapping[str, Arithmetic] = field(default_factory=dict)
    best_score: float | None = None
    rounds_without_gain: int = 0
    stacks: bool = True

    def with_seconds(self, what: str, seconds: float) -> Notes:
        """Return the notes with more time spent on a part of the run.

        Args:
            what: name of the part.
            seconds: seconds to add.
        """
        total = self.seconds.get(what, 0.0) + seconds
        return replace(self, seconds=dict(self.seconds) | {what: total})

    def with_saved(self, file: str) -> Notes:
        """Return the notes after a stage's model has been written.

        Args:
            file: name of the model file.
        """
        return replace(self, saved=(*self.saved, file))

    def with_settings(self, stage: str, settings: Arithmetic) -> Notes:
        """Return the notes with a stage's settings.

        Args:
            stage: name of the stage.
            settings: its precision and memory format.
        """
        return replace(self, settings=dict(self.settings) | {stage: settings})

    def with_score(self, score: float) -> Notes:
        """Return the notes after a round.

        Args:
            score: score of the round's best candidate, higher = better; -inf if all candidates were
                discarded.
        """
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
            "stacks": self.stacks,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Notes:
        """Return the notes that `to_json` wrote.

        Args:
            stored: the JSON values.
        """
        settings = {
            stage: Arithmetic.from_json(found) for stage, found in stored["settings"].items()
        }
        return cls(
            seconds=dict(stored["seconds"]),
            saved=tuple(stored["saved"]),
            settings=settings,
            best_score=stored["best_score"],
            rounds_without_gain=stored["rounds_without_gain"],
            stacks=stored.get("stacks", True),
        )
