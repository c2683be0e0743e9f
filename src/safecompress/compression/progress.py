"""`Progress`, `Piece`: where a run stands, and training that continues an interrupted run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from safecompress.candidate import Candidate
from safecompress.compression.notes import Notes
from safecompress.errors import (
    MemoryShortageError,
    NonFiniteError,
    StackError,
    telling_memory_shortage,
)
from safecompress.events import Event, Listener
from safecompress.run.checkpoints import Checkpoint
from safecompress.run.folder import RunFolder
from safecompress.train import Task, Trained, Trainer, train_side_by_side

CHECKPOINT_SHARE = 0.05
"""A checkpoint may cost at most this share of the time since the one before it."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of work: one candidate's way to a step of its stage.

    Args:
        trainer: trains the candidate.
        start: the candidate that the piece begins with.
        end: the step of the stage at which it ends.
    """

    trainer: Trainer
    start: Candidate
    end: int

    def next(self, candidate: Candidate, least_steps: int) -> Task:
        """Return the next epoch of the way, or more.

        Args:
            candidate: where the piece stands, before its end.
            least_steps: steps to take, where an epoch has fewer and the piece is longer.
        """
        steps = max(self.trainer.steps_per_epoch, least_steps)
        return Task(self.trainer, candidate, min(steps, self.end - candidate.step))


class Progress:
    """Where a run stands. After a kill, the state of the last commit can be restored.

    Attributes:
        stage: the stage under way.
        round: the round under way, from 0.
        pieces: candidates in training; a key names the piece of work within the stage and round.
        notes: facts beside the candidates.

    Args:
        folder: stores the checkpoints.
        listen: called with the events of stages and training steps.
        checkpoint_seconds: shortest time between two checkpoints inside a stage.
        checkpoint: where an interrupted run stood; None for a new run.
        training: trains candidates for this run, perhaps beside those of other runs.
        least_steps: fewest steps of a candidate between two chances of a checkpoint, as far as
            its piece of work has so many; it is at least an epoch.
    """

    def __init__(
        self,
        folder: RunFolder,
        listen: Listener,
        *,
        checkpoint_seconds: float,
        checkpoint: Checkpoint | None,
        training: Callable[[Sequence[Task]], list[Trained]] = train_side_by_side,
        least_steps: int = 1,
    ) -> None:
        self._folder, self._listen, self._pause = folder, listen, checkpoint_seconds
        self._training, self._least_steps = training, least_steps
        self.stage = ""
        self.round = 0
        self.pieces: dict[str, Candidate] = {}
        self.notes = Notes()
        if checkpoint is not None:
            self.stage, self.round = checkpoint.stage, checkpoint.round
            self.pieces, self.notes = dict(checkpoint.work), Notes.from_json(checkpoint.notes)
        self._last_commit = time.monotonic()
        self._commit_cost = 0.0
        self._steps_left = 0
        self._shadows = 0

    def enter(self, stage: str, text: str, **data: Any) -> None:
        """Begin a stage, or continue it when the checkpoint was taken inside it.

        Args:
            stage: its name.
            text: the message for a person.
            data: the rest of the message for a program.
        """
        if self.stage != stage:
            self.stage, self.round, self.pieces = stage, 0, {}
        self._listen(Event("stage", text, {"stage": stage} | data))

    def train_to(self, key: str, candidate: Candidate, step: int, *, trainer: Trainer) -> Candidate:
        """Train a candidate to `step`, continuing where an interrupted run left this piece.

        Args:
            key: names this piece of work within the stage and round.
            candidate: the candidate to start from if the piece has not begun.
            step: the step of the stage at which training ends.
            trainer: trains the candidate.

        Raises:
            NonFiniteError: when its loss or weights stop being finite.
        """
        return self.train_all({key: Piece(trainer, candidate, step)})[key]

    def train_all(self, pieces: Mapping[str, Piece]) -> dict[str, Candidate]:
        """Train several pieces of work, side by side where possible, as `train_to` trains one.

        Args:
            pieces: by the keys that name them within the stage and round; no two of their trainers
                share a module.

        Raises:
            NonFiniteError: when the loss or the weights of one stop being finite.
        """
        current = {key: self.pieces.get(key, piece.start) for key, piece in pieces.items()}
        while tasks := {
            key: pieces[key].next(candidate, self._least_steps)
            for key, candidate in current.items()
            if candidate.step < pieces[key].end
        }:
            started = time.monotonic()
            trained = self._training(list(tasks.values()))
            steps = sum(task.steps for task in tasks.values())
            rate = steps / max(time.monotonic() - started, 1e-9)
            self._steps_left = max(self._steps_left - steps, 0)
            for key, result in zip(tasks, trained, strict=True):
                if isinstance(result, NonFiniteError):
                    raise result
                # What has come to its end waits, perhaps for many others, so it is held packed.
                ended = result.step >= pieces[key].end
                current[key] = self.pieces[key] = result.packed() if ended else result
                trainer = pieces[key].trainer
                losses = {key: trainer.mean_losses[0]}
                self._report(key, result.step, pieces[key].end, rate, losses, trainer)
            self._commit_if_due()
        self.pieces |= current
        return current

    def train_stack(
        self, candidates: Mapping[str, Candidate], step: int, *, trainer: Trainer
    ) -> None:
        """Train pieces of work to `step` as one stack, as far as that is possible and faster.

        Call `train_to` for each piece afterwards: it continues from the same pieces, trains those
        that could not be stacked, and raises for a candidate that became NaN.

        Args:
            candidates: the candidates to start from, by the keys of their pieces.
            step: the step of the stage at which training ends.
            trainer: trains the candidates.
        """
        current = {key: self.pieces.get(key, c) for key, c in candidates.items()}
        while current:
            first = max(c.step for c in current.values())
            current = {key: c for key, c in current.items() if c.step == first}
            together = self.notes.stacks and trainer.trains_together(list(current.values()))
            if first >= step or not together:
                return
            steps, started = min(trainer.steps_per_epoch, step - first), time.monotonic()
            try:
                with telling_memory_shortage():
                    trained = trainer.train_together(list(current.values()), steps)
            except MemoryShortageError:
                self._stop_stacking(
                    "memory: a stack of candidates does not fit, so from here on they are trained "
                    "one by one; a run with more memory free rounds differently"
                )
                return
            except StackError as error:
                self._stop_stacking(
                    "candidates are trained one by one, because the model cannot compute for "
                    f"several at once ({error})"
                )
                return
            keys = list(current)
            current = {
                key: c for key, c in zip(current, trained, strict=True) if isinstance(c, Candidate)
            }
            if not current:
                # All diverged; `train_to` repeats one of them and raises its error.
                return
            ended = first + steps >= step
            self.pieces |= {k: c.packed() for k, c in current.items()} if ended else current
            done = len(current) * steps
            self._steps_left = max(self._steps_left - done, 0)
            rate = done / max(time.monotonic() - started, 1e-9)
            by_key = zip(keys, trainer.mean_losses, strict=True)
            losses = {key: loss for key, loss in by_key if key in current}
            self._report(f"{len(current)} candidates", first + steps, step, rate, losses, trainer)
            self._commit_if_due()

    def _stop_stacking(self, text: str) -> None:
        self.notes = replace(self.notes, stacks=False)
        self._listen(Event("note", text, {"stage": self.stage, "stacks": False}))

    def plan(self, steps: int, *, shadows: int) -> None:
        """Set the number of training steps that remain in the run, for the ETA.

        Args:
            steps: optimizer steps, summed over all models but shadow models.
            shadows: number of shadow models that come afterwards. How long they take depends on how
                many fit side by side, so they are named beside the ETA and not counted in it.
        """
        self._steps_left, self._shadows = steps, shadows

    def add_seconds(self, what: str, seconds: float) -> None:
        """Add to the time that a part of the run has taken, before interruptions included.

        Args:
            what: name of the part.
            seconds: seconds to add.
        """
        self.notes = self.notes.with_seconds(what, seconds)

    def commit(self, *, lines: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write a checkpoint of everything held here, so that it survives a kill.

        Args:
            lines: history lines to append in the same commit.
        """
        started = time.monotonic()
        checkpoint = Checkpoint(self.stage, self.round, self.pieces, self.notes.to_json())
        self._folder.commit(checkpoint, lines=lines)
        self._last_commit = time.monotonic()
        self._commit_cost = self._last_commit - started

    def _commit_if_due(self) -> None:
        wait = max(self._pause, self._commit_cost / CHECKPOINT_SHARE)
        if time.monotonic() - self._last_commit >= wait:
            self.commit()

    def _report(
        self,
        key: str,
        done: int,
        total: int,
        rate: float,
        losses: Mapping[str, float],
        trainer: Trainer,
    ) -> None:
        text = f"{self.stage} {key}: step {done}/{total}, {rate:.0f} steps/s"
        data = {
            "stage": self.stage,
            "piece": key,
            "done": done,
            "total": total,
            "rate": rate,
            "eta": self._steps_left / rate,
            "shadows_after": self._shadows,
            # Mean training losses by piece since the last report, and the last step's rate.
            "losses": losses,
            "lr": trainer.learning_rate(done - 1),
        }
        self._listen(Event("progress", text, data))
