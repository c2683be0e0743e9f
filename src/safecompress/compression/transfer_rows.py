"""`TransferRows`: the rows of a run's transfer set, and who may label them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.compression.teacher_folds import folds_of
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.data.crossover import crossed, partners
from safecompress.data.rows import concatenate
from safecompress.errors import ConfigError
from safecompress.protocols import Rows
from safecompress.randomness import generator
from safecompress.train import TransferSet


@dataclass(frozen=True)
class TransferRows:
    """Rows that the teachers are asked about, for candidates to train on.

    Args:
        crossovers: mixtures of two members of one fold; their labels and ids mean nothing.
        first, second: positions of the parents among the members, int64 (crossovers,).
        reference: the reference rows that take part, possibly none.
    """

    crossovers: Rows
    first: Tensor
    second: Tensor
    reference: Rows

    @classmethod
    def of(cls, config: CompressConfig, splits: Splits) -> TransferRows | None:
        """Return the run's rows, equal at every call; None where the configuration asks for none.

        Args:
            config: the run's configuration.
            splits: its members and reference rows.

        Raises:
            ConfigError: when the data have no reference rows, or cannot be mixed.
        """
        asked = config.teachers.transfer_set
        if asked is None:
            return None
        members, inputs = splits.members, splits.members.inputs
        if asked.reference and splits.reference is None:
            raise ConfigError(
                "teachers.transfer_set.reference: there are no reference rows; set "
                "data.split.reference, for example to 0.2."
            )
        if asked.crossovers and not isinstance(inputs, Tensor):
            raise ConfigError(
                f"teachers.transfer_set.crossovers: is {asked.crossovers}, and rows of several "
                "tensors cannot be mixed; set it to 0 and take reference rows."
            )
        folds = folds_of(members, config.teachers, seed=config.seed)
        first = torch.arange(len(members)).repeat(asked.crossovers)
        rounds = [
            partners(folds, generator(config.seed, "crossovers", "partners", k))
            for k in range(asked.crossovers)
        ]
        second = torch.cat([torch.empty(0, dtype=torch.int64), *rounds])
        crossovers = members.take(first)
        if isinstance(inputs, Tensor):
            source = generator(config.seed, "crossovers", "mixtures")
            mixed = crossed(inputs[first], inputs[second], source)
            crossovers = Rows(mixed, crossovers.labels, crossovers.ids)
        reference = splits.reference if asked.reference else None
        none = members.take(first[:0])
        return cls(crossovers, first, second, none if reference is None else reference)

    def unseen(self, unseen: Tensor) -> Tensor:
        """Return which crossovers a teacher saw no parent of, bool (crossovers,).

        Args:
            unseen: bool (members,), the members that it never saw.
        """
        return unseen[self.first] & unseen[self.second]

    def labeled(
        self, answers: list[Mapping[str, Tensor]], unseen: Tensor, *, share: float
    ) -> TransferSet:
        """Return the transfer set: each row with the mean answer of all teachers that may label it.

        Args:
            answers: per teacher `crossovers`, probabilities for those it saw no parent of, and
                `reference`, for all reference rows; float32 (n, classes).
            unseen: bool (teachers, members), the members that each teacher never saw.
            share: as of `TransferSet`.
        """
        classes = answers[0]["crossovers"].shape[1]
        total = torch.zeros(len(self.first), classes)
        times = torch.zeros(len(self.first), 1)
        for said, rows in zip(answers, unseen, strict=True):
            mask = self.unseen(rows)
            total[mask] += said["crossovers"]
            times[mask] += 1
        reference = torch.stack([said["reference"] for said in answers]).mean(0)
        groups = [Rows(r.inputs, r.labels, r.ids) for r in (self.crossovers, self.reference)]
        return TransferSet(
            concatenate(*groups).inputs, torch.cat([total / times, reference]), share
        )
