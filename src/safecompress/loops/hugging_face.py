"""`SafeCompressCallback` for the `Trainer` of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from safecompress.compress import Run
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.errors import ConfigError, RunFolderError
from safecompress.files import reading_safetensors, write_tensors
from safecompress.loops.watched import WatchedLoop

STATE = "safecompress.safetensors"
"""File of the masks and the tests so far, in every checkpoint of the trainer."""


class SafeCompressCallback(TrainerCallback):  # type: ignore[misc]
    """Keeps the model of a `Trainer` sparse, tests it between epochs, and judges it at the end.

    Figures go into `state.log_history` under `safecompress/…`; set `log = trainer.log` to send
    them to the trainer's other loggers, too. Checkpoints hold the masks, so that
    `train(resume_from_checkpoint=…)` goes on with the same bits.

    Args:
        splits: the rows; the trainer's `train_dataset` holds `splits.members` and nothing else.
        config: the settings of a run; `sparse.density` at least.
        **options: further arguments of `WatchedLoop`: `out`, `augmented`, `test_every`, `choose`,
            `patience`, `on_event`.

    Attributes:
        log: called with the figures of every test; None appends them to `state.log_history`.
    """

    def __init__(
        self,
        splits: Splits,
        config: CompressConfig | Mapping[str, Any] | str | Path,
        **options: Any,
    ) -> None:
        self.loop = WatchedLoop(splits, config, "Hugging Face Trainer", **options)
        self.log: Callable[[dict[str, float]], None] | None = None

    @property
    def run(self) -> Run | None:
        """The finished run with its verdict; None before the training ended."""
        return self.loop.run

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Begin the run, or take it up where the trainer's checkpoint was written."""
        if model is None or optimizer is None or args.world_size > 1:
            raise ConfigError(
                "SafeCompressCallback needs one process and an optimizer that exists when training "
                "begins; train without distribution, sharding and DeepSpeed."
            )
        while not isinstance(optimizer, torch.optim.Optimizer) or hasattr(optimizer, "optimizer"):
            optimizer = optimizer.optimizer
        resume = _read(args, state) if state.global_step else None
        self.loop.start(model, optimizer, steps=state.max_steps, resume=resume)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Test the model on the steering rows, and stop where tests have found no better one."""
        figures = self.loop.epoch_ended(round(state.epoch or 0))
        if figures and self.log is not None:
            self.log(figures)
        elif figures:
            state.log_history.append({**figures, "epoch": state.epoch, "step": state.global_step})
        if self.loop.should_stop:
            control.should_training_stop = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the masks into the checkpoint that the trainer has just written."""
        if self.loop.training is not None:
            saved = self.loop.training.state_dict()
            facts = {"facts": saved.pop("facts")}
            write_tensors(_folder(args, state) / STATE, saved, facts)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Judge the model on the sealed rows."""
        self.loop.finish()


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _read(args: TrainingArguments, state: TrainerState) -> dict[str, Any]:
    """Return what the trainer's checkpoint holds of the masks."""
    asked = args.resume_from_checkpoint
    file = (Path(asked) if isinstance(asked, str) else _folder(args, state)) / STATE
    if not file.is_file():
        raise RunFolderError(
            f"{file}: missing, so the masks of the interrupted training are not known. Resume from "
            "a checkpoint in output_dir that was written with this callback."
        )
    with reading_safetensors(file), safe_open(file, framework="pt") as handle:
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        return {**tensors, **(handle.metadata() or {})}
