"""`WatchedLoop`: what the callbacks of trainers share; it starts, tests and finishes a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from safecompress.compress import Run
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.errors import UsageError
from safecompress.events import Listener, silent
from safecompress.loops.handle import Choice, SparseTraining

PREFIX = "safecompress/"
"""Begins the names of figures in a trainer's own logs."""


@dataclass
class WatchedLoop:
    """A run that a trainer's callback takes part in.

    Args:
        splits: the rows; the trainer trains on `splits.members`.
        config: the settings of a run, see `loop_config`.
        by: whose loop it is, for the verdict.
        out: run folder, new or empty; by default `runs/NAME-seedN`.
        augmented: whether the training changes its inputs.
        test_every: epochs between two tests on the steering rows; 0 for none.
        choose: whether the `last` model is judged or the `best` of those that were tested.
        patience: tests in a row without a better model after which training stops; None for never.
        on_event: called with every `Event`.

    Raises:
        UsageError: when models are to be chosen by tests that never run.
    """

    splits: Splits
    config: CompressConfig | Mapping[str, Any] | str | Path
    by: str
    out: str | Path | None = None
    augmented: bool = False
    test_every: int = 1
    choose: Choice = "last"
    patience: int | None = None
    on_event: Listener = silent
    training: SparseTraining | None = field(default=None, init=False)
    run: Run | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.test_every < 1 and (self.choose == "best" or self.patience is not None):
            raise UsageError(
                f"test_every is {self.test_every}, and choose='best' and patience go by tests; "
                "test every epoch (1) or every few."
            )

    def start(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        steps: int,
        resume: Mapping[str, Any] | None,
    ) -> None:
        """Begin the run, or take it up where a checkpoint was written.

        Args:
            model: the module that is trained.
            optimizer: its optimizer, as torch has it.
            steps: optimizer steps of the whole training.
            resume: what `SparseTraining.state_dict` returned; None begins.
        """
        self.close()
        self.training = SparseTraining(
            model,
            optimizer,
            self.splits,
            steps=steps,
            config=self.config,
            out=self.out,
            resume=resume,
            augmented=self.augmented,
            choose=self.choose,
            by=self.by,
            on_event=self.on_event,
        )

    def epoch_ended(self, epoch: int) -> dict[str, float]:
        """Test the model where an epoch calls for it; return the figures for the trainer's logs.

        Args:
            epoch: epochs trained so far, from 1.
        """
        if self.training is None or not self.test_every or epoch % self.test_every:
            return {}
        return {PREFIX + name: value for name, value in self.training.test().items()}

    @property
    def should_stop(self) -> bool:
        """Whether so many tests found no better model that training should stop."""
        return (
            self.training is not None
            and self.patience is not None
            and self.training.tests_without_gain >= self.patience
        )

    def finish(self) -> Run:
        """Judge the model, finish the run folder, and let go of the model.

        Raises:
            UsageError: when no training began.
        """
        if self.training is None:
            raise UsageError("the callback has seen no training; call the trainer's fit or train.")
        try:
            self.run = self.training.finish()
        finally:
            self.close()
        return self.run

    def close(self) -> None:
        """Take all hooks off, whether or not the training ended."""
        if self.training is not None:
            self.training.close()
            self.training = None
