"""Training batches as a pure function of (seed, stage, step)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress import randomness
from safecompress.config import TrainConfig
from safecompress.errors import ConfigError, DataError
from safecompress.protocols import Inputs, Rows, map_inputs
from safecompress.train.augment import crop_flip, require_images


@dataclass(frozen=True)
class Step:
    """What one training step reads.

    Args:
        inputs: the batch's inputs, augmented.
        labels: int64 (b,).
        ids: int64 (b,).
        index: int64 (b,), the rows' positions among the rows trained on.
    """

    inputs: Inputs
    labels: Tensor
    ids: Tensor
    index: Tensor


def steps_per_epoch(rows: int, config: TrainConfig) -> int:
    """Return the steps of one epoch over `rows` rows; a last batch that is not full is left out."""
    return rows // min(config.batch_size, rows)


class Batches:
    """The batches of one training stage.

    Every epoch is a permutation of its own; rows that do not fill a last batch sit that epoch out.
    With several processes each gets its share of every batch.

    Args:
        rows: the rows trained on.
        config: batch size and augmentation.
        seed: the run's seed.
        stage: name of the stage, part of every derived seed.
        device: where batches are wanted; the rows are moved there once.

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
    ) -> None:
        if len(rows) == 0:
            raise DataError(f"training ({stage}): there are no rows to train on.")
        if config.augment == "crop-flip":
            require_images(rows.inputs)
        self.size = min(config.batch_size, len(rows))
        self.steps_per_epoch = steps_per_epoch(len(rows), config)
        self.total_steps = round(config.epochs * self.steps_per_epoch)
        self.images = isinstance(rows.inputs, Tensor) and rows.inputs.ndim == 4
        self._rows = Rows(
            map_inputs(lambda t: t.to(device), rows.inputs),
            rows.labels.to(device),
            rows.ids.to(device),
        )
        self._augment = config.augment == "crop-flip"
        self._seed, self._stage, self._device = seed, stage, device
        self._rank, self._ranks = 0, 1
        self._alone = False
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def share_(self, *, rank: int, ranks: int) -> None:
        """From now on give this process its share of every batch only.

        Raises:
            ConfigError: when a batch cannot be shared out equally.
        """
        if self.size % ranks:
            raise ConfigError(
                f"train.batch_size: {self.size} rows cannot be shared equally by {ranks} devices."
            )
        self._rank, self._ranks = rank, ranks

    def draw_alone_(self) -> None:
        """From now on draw every row into every batch on its own, `size` rows on average.

        Differential privacy is accounted for such batches (Poisson sampling), not for epochs.
        """
        self._alone = True

    def at(self, step: int, *, memory_format: torch.memory_format) -> Step:
        """Return the batch of one step, counted from the stage's beginning."""
        index = self._index(step)
        inputs = map_inputs(lambda t: t.index_select(0, index), self._rows.inputs)
        if self._augment and isinstance(inputs, Tensor):
            generator = randomness.generator(self._seed, self._stage, "augment", step, self._rank)
            inputs = crop_flip(inputs, generator)
        if self.images and isinstance(inputs, Tensor):
            inputs = inputs.contiguous(memory_format=memory_format)
        labels = self._rows.labels.index_select(0, index)
        return Step(inputs, labels, self._rows.ids.index_select(0, index), index)

    def _index(self, step: int) -> Tensor:
        """Return the positions of one step's rows, int64 (b,)."""
        if self._alone:
            source = randomness.generator(self._seed, self._stage, "alone", step)
            drawn = torch.rand(len(self._rows), generator=source)
            index = torch.nonzero(drawn < self.size / len(self._rows)).squeeze(1)
            # Without any row there is no step; with 32 rows on average that is one in 10^13.
            return (index if len(index) else drawn.argmin().unsqueeze(0)).to(self._device)
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = randomness.permutation(len(self._rows), self._seed, self._stage, "epoch", epoch)
            self._order, self._epoch = order.to(self._device), epoch
        start = place * self.size
        return self._order[start + self._rank : start + self.size : self._ranks]
