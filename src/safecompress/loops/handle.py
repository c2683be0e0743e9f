"""`SparseTraining`: masks, tests and a verdict for a loop of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from safecompress.candidate import Candidate
from safecompress.compress import Run, judge_models
from safecompress.compression.pipeline import take_in
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.errors import RunFolderError, UsageError
from safecompress.events import Event, Listener, silent
from safecompress.loops.begin import begin
from safecompress.loops.rows_seen import RowsSeen
from safecompress.loops.state import require_loaded, restored_, saved_state
from safecompress.loops.steering import SteeringTests
from safecompress.protocols import Rows
from safecompress.randomness import seeded
from safecompress.run.folder import MODEL
from safecompress.run.own_loop import OwnLoop
from safecompress.train import LiveMasks
from safecompress.train.state import load_module_

Choice: TypeAlias = Literal["last", "best"]
"""Which model is judged: the last, or the best of those that were tested."""


class SparseTraining:
    """Keeps a model's masks while a loop of your own trains it, and judges the result.

    A context manager: inside the block a missing weight, its gradient and its optimizer state are
    zero after every step, whatever the optimizer, and the masks change by schedule.

    Args:
        model: the plain module; the loop may wrap it afterwards.
        optimizer: the optimizer of its parameters.
        splits: the rows. The loop trains on all of `splits.members` and on nothing else of them.
        steps: optimizer steps that the loop will take, for the schedule.
        config: the settings of a run, see `loop_config`; `sparse.density` at least.
        out: run folder, new or empty; by default `runs/NAME-seedN`.
        resume: what `state_dict` returned when the loop was interrupted. Load the weights and the
            optimizer first.
        augmented: whether the loop changes its inputs, so that it need not give the model every
            member exactly as it is.
        choose: whether `finish` judges the `last` model or the `best` of those that `test` saw.
        by: whose loop it is, for the verdict.
        on_event: called with every `Event`.

    Raises:
        UsageError: on anything that cannot work, before any training.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        splits: Splits,
        *,
        steps: int,
        config: CompressConfig | Mapping[str, Any] | str | Path,
        out: str | Path | None = None,
        resume: Mapping[str, Any] | None = None,
        augmented: bool = False,
        choose: Choice = "last",
        by: str = "plain PyTorch",
        on_event: Listener = silent,
    ) -> None:
        if steps < 1 or choose not in {"last", "best"}:
            raise UsageError(
                f"SparseTraining: steps is {steps} and choose {choose!r}; expected at least 1 "
                "step, and 'last' or 'best'."
            )
        self._record = OwnLoop(by, steps, members=len(splits.members), augmented=augmented)
        self._begun = begin(
            model,
            splits,
            config=config,
            record=self._record,
            out=out,
            resume=resume is not None,
            listen=on_event,
        )
        self._listen, self._choose = on_event, choose
        self._folder = self._begun.session.folder
        try:
            with self._aside():
                self._tests = SteeringTests(self._begun)
            self._seen = RowsSeen(model, splits)
            self._now, masks = self._started(optimizer, resume)
        except BaseException:
            self._folder.release()
            raise
        self._masks = masks
        self._gather_if_due_()

    def __enter__(self) -> SparseTraining:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take all hooks off and release the folder; the model stays as it is."""
        self._masks.remove_()
        self._seen.remove_()
        self._folder.release()

    @property
    def members(self) -> Rows:
        """The rows that the loop trains on."""
        return self._begun.session.splits.members

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def step(self) -> int:
        """Optimizer steps taken so far."""
        return self._now.step

    @property
    def density(self) -> float:
        """Share of the maskable weights that exist now, in (0, 1]."""
        return self._masks.topology.density

    @property
    def tests_without_gain(self) -> int:
        """How many tests in a row found no better model, for early stopping."""
        return self._tests.without_gain

    def keep_copy(self, copy: nn.Module) -> None:
        """Let a copy of the model lose the weights that are missing, such as a moving average.

        Args:
            copy: a module of the same parameters, or torch's `AveragedModel` of one.

        Raises:
            ModelError: when it is of another model.
        """
        self._masks.follow_(copy)

    def test(self) -> dict[str, float]:
        """Attack and measure the model as it is now, on the steering rows.

        The model, its mode and torch's random numbers stay as they are.

        Returns:
            `accuracy`, `density`, and `NAME.auc` and `NAME.balanced-accuracy` of every attack of
            `steer.attacks`; `margin`, in half widths of an interval, where `steer.objective` reads
            the verdict's limits.

        Raises:
            NonFiniteError: when a weight or a logit is NaN or infinite.
        """
        with self._aside():
            return self._tests(self._masks.collected(self._now).evolve(optimizer={}))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint needs beside the weights and the optimizer.

        Call it between two steps. Its values are tensors on the CPU and one text of JSON, so
        `torch.save` and safetensors take it.
        """
        return saved_state(self._now, self._tests, self._seen)

    def finish(self) -> Run:
        """Judge the trained model on the sealed rows, and finish the run folder.

        Returns:
            The finished run, as `compress` returns it. Its model is a copy.

        Raises:
            MembershipError: when the loop did not train on the members, or trained on other rows.
            ModelError: when something beside the optimizer gave a value to a missing weight.
            NonFiniteError: when a weight is NaN or infinite.
        """
        self._seen.check(augmented=self._record.augmented)
        session = self._begun.session
        last = self._masks.collected(self._now).evolve(optimizer={})
        best = self._tests.best if self._choose == "best" else None
        if self._choose == "best" and best is None:
            raise RunFolderError(
                f"{self.folder}: choose is 'best', and no model of the final density was tested; "
                "call test() after the last mask update, or choose the last."
            )
        chosen = last if best is None else best
        facts = replace(
            self._record,
            taken=self.step,
            tests=len(self._tests.records),
            seen=self._seen.members,
        )
        facts.write(self.folder)
        session.listen(Event("stage", f"your loop took {self.step} steps", {"stage": "own loop"}))
        with self._aside():
            if MODEL not in session.progress.notes.saved:
                session.progress.commit(lines=self._tests.records)
            return judge_models(
                session, self._begun.prepared, take_in(session, self._begun.prepared, chosen)
            )

    def _aside(self) -> Any:
        """Return a context in which work of ours leaves torch's random numbers as they are."""
        return seeded(self._begun.session.config.seed, "own loop", "aside")

    def _started(
        self, optimizer: torch.optim.Optimizer, resume: Mapping[str, Any] | None
    ) -> tuple[Candidate, LiveMasks]:
        """Return where the loop stands, and keep its masks from now on."""
        start, live = self._begun.start, self._begun.live
        if resume is None:
            # A first mask may also scale the weights that it keeps.
            load_module_(live, start.weights)
            masks = LiveMasks(live, optimizer, start.topology, after_step=self._after_step_)
            return start.evolve(weights={}, optimizer={}), masks
        now = restored_(resume, self._tests, self._seen)
        require_loaded(now, live)
        masks = LiveMasks(live, optimizer, now.topology, after_step=self._after_step_)
        return now, masks

    def _after_step_(self) -> None:
        now = self._now = self._now.evolve(step=self._now.step + 1)
        if self._begun.updates.due(now.step):
            with self._aside():
                gradient = self._masks.gradient()
                child = self._begun.updates.of(self._masks.collected(now), gradient)
                self._masks.put_(child)
            self._now = child.evolve(weights={}, optimizer={})
            how = self._now.lineage[-1] if self._now.lineage else "cut"
            text = f"step {now.step}: {how}, density {self.density:.3g}"
            self._listen(Event("note", text, {"step": now.step, "density": self.density}))
        self._gather_if_due_()

    def _gather_if_due_(self) -> None:
        if self._begun.updates.reads_gradient(self.step + 1):
            self._masks.gather_()
