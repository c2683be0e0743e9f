"""`Batches`, `Step`: training batches as a pure function of (seed, stage, step)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from safecompress import randomness
from safecompress.config import TrainConfig, is_code
from safecompress.data.rows import concatenate, size_of
from safecompress.errors import ConfigError, DataError
from safecompress.models.words import Words
from safecompress.protocols import Inputs, Rows, map_inputs
from safecompress.train.augment import crop_flip, require_images
from safecompress.train.augment_words import WORD_CHANGES, change_words, require_words
from safecompress.train.own_code import input_change
from safecompress.train.transfer_set import TransferSet


@dataclass(frozen=True)
class Step:
    """The rows of one training step.

    Args:
        inputs: inputs of b rows, augmented.
        labels: int64 (b,), class indices.
        ids: int64 (b,), the rows' ids in their source.
        index: int64 (b,), the rows' positions among the rows trained on; those of a transfer set
            follow them.
    """

    inputs: Inputs
    labels: Tensor
    ids: Tensor
    index: Tensor


_MOST_MOVED = 4 << 30
"""Most bytes of rows that are moved to a GPU as a whole."""


def steps_per_epoch(rows: int, config: TrainConfig) -> int:
    """Return the steps of one epoch; rows that do not fill a last batch are left out.

    Args:
        rows: number of rows trained on, at least 1.
        config: batch size.
    """
    return rows // min(config.batch_size, rows)


class Batches:
    """The batches of one training stage.

    Every epoch draws a new permutation of the rows; those that do not fill a last batch are left
    out of that epoch. Several processes share every batch.

    Args:
        rows: the rows trained on.
        config: epochs, batch size and augmentation.
        seed: the run's seed.
        stage: name of the stage, part of every derived seed.
        device: device of the batches; up to 4 GiB of rows are moved there once, and of more rows
            each batch.
        transfer: rows that take the places of a share of every batch; None without any.
        words: what token ids mean, where the rows are texts; None where nobody said.

    Raises:
        DataError: when there are no rows.
        ConfigError: when augmentation does not fit the inputs.
    """

    def __init__(
        self,
        rows: Rows,
        config: TrainConfig,
        *,
        seed: int,
        stage: str,
        device: torch.device,
        transfer: TransferSet | None = None,
        words: Words | None = None,
    ) -> None:
        if len(rows) == 0:
            raise DataError(f"training ({stage}): there are no rows to train on.")
        first = rows.batch(torch.zeros(1, dtype=torch.int64))
        if config.augment == "crop-flip":
            require_images(first)
        self._words = None
        if config.augment in WORD_CHANGES:
            require_words(first, words, config)
            self._words = words
        self.size = min(config.batch_size, len(rows))
        self.steps_per_epoch = steps_per_epoch(len(rows), config)
        self.total_steps = round(config.epochs * self.steps_per_epoch)
        self.images = isinstance(first, Tensor) and first.ndim == 4
        self.vectors = isinstance(first, Tensor) and first.ndim == 2
        self._own, self._transfer = len(rows), transfer
        held = rows if transfer is None else _joined(rows, transfer.rows)
        self._rows = (
            held if device.type == "cpu" or size_of(held) > _MOST_MOVED else held.to(device)
        )
        self._labels, self._ids = held.labels.to(device), held.ids.to(device)
        self._config = config
        self._change = input_change(config.augment) if is_code(config.augment) else None
        self._augment, self._noise = config.augment == "crop-flip", config.noise
        self._seed, self._stage, self._device = seed, stage, device
        self._rank, self._ranks = 0, 1
        self._alone = False
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def share_(self, *, rank: int, ranks: int) -> None:
        """Return to this process only its share of every batch from now on.

        Args:
            rank: number of this process, from 0.
            ranks: number of processes.

        Raises:
            ConfigError: when a batch cannot be shared equally.
        """
        if self.size % ranks:
            raise ConfigError(
                f"train.batch_size: {self.size} rows cannot be shared equally by {ranks} devices."
            )
        self._rank, self._ranks = rank, ranks

    def draw_alone_(self) -> None:
        """From now on draw every row into every batch independently, `size` rows on average.

        The accounting of differential privacy assumes such Poisson-sampled batches.
        """
        self._alone = True

    def at(self, step: int, *, memory_format: torch.memory_format) -> Step:
        """Return the batch of one step.

        Args:
            step: steps of the stage before this one, from 0.
            memory_format: memory format of images.
        """
        index = self._index(step)
        if self._transfer is not None:
            source = randomness.generator(self._seed, self._stage, "transfer", step, self._rank)
            index = self._transfer.placed(index, own=self._own, source=source)
        inputs = map_inputs(lambda t: t.to(self._device), self._rows.batch(index))
        if self._augment and isinstance(inputs, Tensor):
            generator = randomness.generator(self._seed, self._stage, "augment", step, self._rank)
            inputs = crop_flip(inputs, generator)
        if self._words is not None and isinstance(inputs, Tensor):
            generator = randomness.generator(self._seed, self._stage, "augment", step, self._rank)
            inputs = change_words(inputs, self._config, self._words, generator)
        if self._change is not None:
            generator = randomness.generator(self._seed, self._stage, "augment", step, self._rank)
            inputs = self._change(inputs, generator)
        if self._noise:
            generator = randomness.generator(self._seed, self._stage, "noise", step, self._rank)
            inputs = map_inputs(partial(_noisy, spread=self._noise, generator=generator), inputs)
        if self.images and isinstance(inputs, Tensor):
            inputs = inputs.contiguous(memory_format=memory_format)
        labels, ids = self._labels.index_select(0, index), self._ids.index_select(0, index)
        return Step(inputs, labels, ids, index)

    def _index(self, step: int) -> Tensor:
        """Return the positions of one step's rows, int64 (b,)."""
        if self._alone:
            source = randomness.generator(self._seed, self._stage, "alone", step)
            drawn = torch.rand(self._own, generator=source)
            index = torch.nonzero(drawn < self.size / self._own).squeeze(1)
            # A step needs a row, so an empty draw takes the row nearest to being drawn. At 32 rows
            # on average that happens once in 10^13 steps.
            return (index if len(index) else drawn.argmin().unsqueeze(0)).to(self._device)
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = randomness.permutation(self._own, self._seed, self._stage, "epoch", epoch)
            self._order, self._epoch = order.to(self._device), epoch
        start = place * self.size
        return self._order[start + self._rank : start + self.size : self._ranks]


def _joined(rows: Rows, others: Rows) -> Rows:
    """Return rows and others after them, without what the source has beside the inputs."""
    return concatenate(Rows(rows.inputs, rows.labels, rows.ids), others)


def _noisy(inputs: Tensor, *, spread: float, generator: torch.Generator) -> Tensor:
    """Return real-valued inputs with Gaussian noise added; whole numbers are returned as they are.

    The noise is drawn on the CPU, so that every device trains on the same inputs.
    """
    if not inputs.is_floating_point():
        return inputs
    drawn = torch.randn(inputs.shape, generator=generator) * spread
    return inputs + drawn.to(inputs.device, inputs.dtype)
