"""Stacks of candidates that cannot be trained: too large, code that is for one model, diverged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from safecompress.candidate import Candidate
from safecompress.compression.notes import Notes
from safecompress.compression.progress import Progress
from safecompress.errors import MemoryShortageError, NonFiniteError, StackError
from safecompress.events import Event


class Failing:
    """A trainer whose stacks always fail."""

    steps_per_epoch = 5

    def __init__(self, error: Exception) -> None:
        self.tried, self.error = 0, error

    def trains_together(self, candidates: Any) -> bool:
        return len(candidates) > 1

    def train_together(self, candidates: Any, steps: int) -> Any:
        self.tried += 1
        raise self.error


class Diverging:
    """A trainer whose stacked candidates all become NaN."""

    steps_per_epoch = 5

    def trains_together(self, candidates: Any) -> bool:
        return len(candidates) > 1

    def train_together(self, candidates: Any, steps: int) -> Any:
        return [NonFiniteError("NaN") for _ in candidates]


def _candidates() -> dict[str, Candidate]:
    bare = Candidate.__new__(Candidate)
    object.__setattr__(bare, "step", 0)
    return {"first": bare, "second": bare}


@pytest.mark.parametrize(
    "error", [MemoryShortageError("2 candidates"), StackError("random numbers")], ids=repr
)
def test_it_is_said_recorded_and_not_tried_again_also_after_resuming(tmp_path, error):
    told: list[Event] = []
    folder: Any = tmp_path
    progress = Progress(folder, told.append, checkpoint_seconds=1e9, checkpoint=None)
    trainer: Any = Failing(error)
    candidates = _candidates()
    for _ in range(2):
        progress.train_stack(candidates, 10, trainer=trainer)
    assert trainer.tried == 1
    assert [event.data for event in told] == [{"stage": "", "stacks": False}]
    assert "one by one" in told[0].text
    assert not Notes.from_json(progress.notes.to_json()).stacks
    progress.notes = replace(progress.notes, stacks=True)
    progress.train_stack(candidates, 10, trainer=trainer)
    assert trainer.tried == 2


def test_where_all_diverge_nothing_is_kept_so_that_each_tells_its_own_error(tmp_path):
    folder: Any = tmp_path
    told: list[Event] = []
    progress = Progress(folder, told.append, checkpoint_seconds=1e9, checkpoint=None)
    trainer: Any = Diverging()
    progress.train_stack(_candidates(), 10, trainer=trainer)
    assert progress.pieces == {}
    assert told == []
    assert progress.notes.stacks
