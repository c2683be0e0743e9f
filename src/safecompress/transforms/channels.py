"""`ChannelGroup`, `Channels`: which rows and columns of parameters belong to removed channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of several layers that can only be removed together.

    An example are the channels on the two sides of a residual sum.

    Args:
        size: number of channels.
        rows: per name of a parameter that computes the channels (weights, biases, normalization)
            int64 (n,) over its first dimension, the channel of each entry.
        columns: per name of a weight that reads the channels int64 (n,) over its second dimension,
            the channel of each entry.
    """

    size: int
    rows: Mapping[str, Tensor]
    columns: Mapping[str, Tensor]


@dataclass(frozen=True)
class Channels:
    """Which channels of a model are left.

    A removed channel has no weights, no bias and γ = β = 0, so it is zero wherever it is read. The
    model therefore computes the same as the smaller one without the channel (`remove_channels`).

    Args:
        rows: per parameter name bool (n,) over its first dimension, True where a channel is left;
            parameters that are not named lack no channel.
        columns: per weight name bool (n,) over its second dimension, True where a channel is left.
    """

    rows: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether any channel is removed."""
        return bool(self.rows)

    def open(self, name: str, shape: torch.Size) -> Tensor | None:
        """Return where a parameter's entries may exist.

        Args:
            name: the parameter's name.
            shape: its shape.

        Returns:
            Bool of that shape, False at removed channels; None where no channel is removed.
        """
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
        """Return per parameter name (entries left, all entries) of its first dimension."""
        return {name: (int(kept.sum()), len(kept)) for name, kept in self.rows.items()}

    def without(self, groups: Mapping[int, tuple[ChannelGroup, Tensor]]) -> Channels:
        """Return what is left after removing more channels.

        Args:
            groups: under any key a group and bool (size,), True where a channel of it stays.
        """
        rows, columns = dict(self.rows), dict(self.columns)
        for group, stays in groups.values():
            for into, members in ((rows, group.rows), (columns, group.columns)):
                for name, channel in members.items():
                    kept = stays[channel]
                    into[name] = into[name] & kept if name in into else kept
        return Channels(rows, columns)
