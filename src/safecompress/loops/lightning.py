"""`SafeCompressCallback` for the `Trainer` of Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from safecompress.compress import Run
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.errors import ConfigError
from safecompress.loops.watched import WatchedLoop

if TYPE_CHECKING or find_spec("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    # The same classes under the other name that Lightning is published by.
    from pytorch_lightning import Callback, LightningModule, Trainer


class SafeCompressCallback(Callback):
    """Keeps a model sparse that Lightning trains, tests it between epochs, judges it at the end.

    Figures are logged under `safecompress/…`. Checkpoints hold the masks, so that
    `fit(ckpt_path=…)` goes on with the same bits.

    Args:
        splits: the rows; the training batches hold `splits.members` and nothing else.
        config: the settings of a run; `sparse.density` at least.
        model: the attribute of the LightningModule that holds the classifier.
        **options: further arguments of `WatchedLoop`: `out`, `augmented`, `test_every`, `choose`,
            `patience`, `on_event`.
    """

    def __init__(
        self,
        splits: Splits,
        config: CompressConfig | Mapping[str, Any] | str | Path,
        *,
        model: str = "model",
        **options: Any,
    ) -> None:
        self.loop = WatchedLoop(splits, config, "Lightning", **options)
        self._model = model
        self._resume: Mapping[str, Any] | None = None

    @property
    def run(self) -> Run | None:
        """The finished run with its verdict; None before the training ended."""
        return self.loop.run

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the run, or take it up where a checkpoint was written."""
        module = getattr(pl_module, self._model, None)
        if not isinstance(module, nn.Module):
            raise ConfigError(
                f"SafeCompressCallback: the LightningModule has no module '{self._model}'; name "
                "the attribute that holds the classifier (model=)."
            )
        if len(trainer.optimizers) != 1 or trainer.world_size > 1:
            raise ConfigError(
                f"SafeCompressCallback: {len(trainer.optimizers)} optimizers and "
                f"{trainer.world_size} processes; expected one of each."
            )
        steps = trainer.estimated_stepping_batches
        if steps != int(steps) or steps < 1:
            raise ConfigError("SafeCompressCallback: set max_epochs or max_steps of the Trainer.")
        self.loop.start(module, trainer.optimizers[0], steps=int(steps), resume=self._resume)
        self._resume = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test the model on the steering rows, and stop where tests have found no better one."""
        if figures := self.loop.epoch_ended(trainer.current_epoch + 1):
            pl_module.log_dict(figures)
        if self.loop.should_stop:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return the masks and the tests so far, for Lightning's checkpoint."""
        return {} if self.loop.training is None else self.loop.training.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep what `state_dict` returned until the training goes on.

        Args:
            state_dict: from Lightning's checkpoint.
        """
        self._resume = state_dict or None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the model on the sealed rows."""
        self.loop.finish()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let go of model and folder, so that the training can be resumed."""
        self.loop.close()
