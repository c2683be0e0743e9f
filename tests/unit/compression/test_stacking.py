"""A stack of candidates that does not fit into memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from safecompress.candidate import Candidate
from safecompress.compression.notes import Notes
from safecompress.compression.progress import Progress
from safecompress.errors import MemoryShortageError
from safecompress.events import Event


class Crowded:
    """A trainer whose stacks never fit."""

    steps_per_epoch = 5

    def __init__(self) -> None:
        self.tried = 0

    def trains_together(self, candidates: Any) -> bool:
        return len(candidates) > 1

    def train_together(self, candidates: Any, steps: int) -> Any:
        self.tried += 1
        raise MemoryShortageError(f"{len(candidates)} candidates, {steps} steps")


def test_it_is_said_recorded_and_not_tried_again_also_after_resuming(tmp_path):
    told: list[Event] = []
    folder: Any = tmp_path
    progress = Progress(folder, told.append, checkpoint_seconds=1e9, checkpoint=None)
    trainer: Any = Crowded()
    bare = Candidate.__new__(Candidate)
    object.__setattr__(bare, "step", 0)
    candidates = {"first": bare, "second": bare}
    for _ in range(2):
        progress.train_stack(candidates, 10, trainer=trainer)
    assert trainer.tried == 1
    assert [event.data for event in told] == [{"stage": "", "stacks": False}]
    assert not Notes.from_json(progress.notes.to_json()).stacks
    progress.notes = replace(progress.notes, stacks=True)
    progress.train_stack(candidates, 10, trainer=trainer)
    assert trainer.tried == 2
