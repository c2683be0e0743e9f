"""Channels that are gone: which rows and columns of which parameters no longer count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only go together, such as those of the two sides of a residual sum.

    Args:
        size: number of channels.
        rows: per parameter whose first dimension these channels are (weights, biases,
            normalization) int64 (n,), the channel that each entry belongs to.
        columns: the same of weights that read the channels, over their second dimension.
    """

    size: int
    rows: Mapping[str, Tensor]
    columns: Mapping[str, Tensor]


@dataclass(frozen=True)
class Channels:
    """What is left of the channels of a model.

    A channel that is gone has no weight, no bias, γ = β = 0: it is zero wherever it is read. So
    the model computes what the smaller one does that lacks it (`remove_channels`).

    Args:
        rows: per parameter name bool (n,) over its first dimension, True where a channel is left.
        columns: per weight bool (n,) over its second dimension.
    """

    rows: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether any channel is gone."""
        return bool(self.rows)

    def open(self, name: str, shape: torch.Size) -> Tensor | None:
        """Return bool `shape`, True where a weight may exist; None where it may everywhere."""
        rows, columns = self.rows.get(name), self.columns.get(name)
        if rows is None and columns is None:
            return None
        allowed = torch.ones(shape, dtype=torch.bool)
        if rows is not None:
            allowed &= rows.view(-1, *[1] * (len(shape) - 1))
        if columns is not None:
            allowed &= columns.view(1, -1, *[1] * (len(shape) - 2))
        return allowed

    def left(self) -> dict[str, tuple[int, int]]:
        """Return per parameter how many of how many entries of its first dimension are left."""
        return {name: (int(kept.sum()), len(kept)) for name, kept in self.rows.items()}

    def without(self, groups: Mapping[int, tuple[ChannelGroup, Tensor]]) -> Channels:
        """Return what is left when more channels go.

        Args:
            groups: by any key a group and bool (size,), True where its channel stays.
        """
        rows, columns = dict(self.rows), dict(self.columns)
        for group, stays in groups.values():
            for into, members in ((rows, group.rows), (columns, group.columns)):
                for name, channel in members.items():
                    kept = stays[channel]
                    into[name] = into[name] & kept if name in into else kept
        return Channels(rows, columns)
