"""`Groups`: which groups each row belongs to, by one attribute such as a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from safecompress.errors import DataError


class Groups(Protocol):
    """Named groups of n rows by one attribute; `len` is n."""

    @property
    def names(self) -> tuple[str, ...]:
        """The groups' names; those of members and of non-members are the same, in one order."""
        ...

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Groups:
        """Return the groups of some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        ...

    def positions(self) -> tuple[Tensor, ...]:
        """Return for every group the positions of its rows, int64, rising."""
        ...


@dataclass(frozen=True)
class GroupColumn:
    """Groups of which every row belongs to exactly one.

    Args:
        codes: int64 (n,), each row's group as an index into `names`.
        names: the groups' names; those of members and of non-members are the same, in one order.

    Raises:
        DataError: when a code is no index into the names.
    """

    codes: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.codes) and not 0 <= int(self.codes.min()) <= int(self.codes.max()) < len(
            self.names
        ):
            raise DataError(
                f"groups: codes run from {int(self.codes.min())} to {int(self.codes.max())}; "
                f"expected indices into {len(self.names)} names."
            )

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Tensor) -> GroupColumn:
        """Return the groups of some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        return GroupColumn(self.codes[index], self.names)

    def positions(self) -> tuple[Tensor, ...]:
        """Return for every group the positions of its rows, int64, rising."""
        sizes = torch.bincount(self.codes, minlength=len(self.names)).tolist()
        return torch.split(torch.argsort(self.codes, stable=True), sizes)


@dataclass(frozen=True)
class OverlappingGroups:
    """Groups of which a row may belong to several, or to none, such as those of its labels.

    Args:
        inside: bool (n, groups), whether a row belongs to a group.
        names: the groups' names; those of members and of non-members are the same, in one order.

    Raises:
        DataError: when there is not one name for each group.
    """

    inside: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.inside.dim() != 2 or self.inside.shape[1] != len(self.names):
            raise DataError(
                f"groups: a mask of shape {tuple(self.inside.shape)}; expected (rows, "
                f"{len(self.names)}), a column for each name."
            )

    def __len__(self) -> int:
        return len(self.inside)

    def take(self, index: Tensor) -> OverlappingGroups:
        """Return the groups of some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        return OverlappingGroups(self.inside[index], self.names)

    def positions(self) -> tuple[Tensor, ...]:
        """Return for every group the positions of its rows, int64, rising."""
        return tuple(torch.nonzero(column).flatten() for column in self.inside.T)
