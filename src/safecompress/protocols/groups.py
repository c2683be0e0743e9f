"""`GroupColumn`: which group each row belongs to, by one attribute such as a region."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from safecompress.errors import DataError


@dataclass(frozen=True)
class GroupColumn:
    """The groups of rows by one attribute.

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
