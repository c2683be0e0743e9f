"""`Agreement`: for how many rows a file names the model's class, and what that says of others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from safecompress.errors import ConfigError
from safecompress.stats import clopper_pearson

MIN_AGREEMENT = 0.99
"""Share of unseen rows on which a file should name the class that the model names, by default."""
SURE = 0.95
"""One-sided confidence of the bound on steering rows."""


@dataclass(frozen=True)
class Agreement:
    """For how many of some rows, which no weight was trained on, a file names the model's class.

    Args:
        same: rows with the same class.
        rows: rows asked.
    """

    same: int
    rows: int

    @classmethod
    def of(cls, file: Tensor, model: Tensor) -> Agreement:
        """Compare the logits (n, classes) of a file with those of its model."""
        same = same_class(file, model)
        return cls(int(same.sum()), len(same))

    @property
    def share(self) -> float:
        """Share of the rows with the same class, in [0, 1]; 1 of no rows."""
        return self.same / self.rows if self.rows else 1.0

    @property
    def low(self) -> float:
        """The share of all rows of the kind that is reached at least, with confidence `SURE`."""
        if not self.rows:
            return 0.0
        return clopper_pearson(self.same, self.rows, level=2 * SURE - 1).low

    def shows(self, least: float) -> bool:
        """Return whether at least this share of other rows is to be expected.

        It is where the lower bound says so. Few rows cannot say it even if all of them agree, fewer
        than 299 of 0.99; then all must agree.

        Args:
            least: the share, in [0, 1].
        """
        return self.low >= least or self.same == self.rows


def require_share(min_agreement: float) -> None:
    """Refuse a share that no rows can have.

    Args:
        min_agreement: share of unseen rows for which a file is to name the model's class.

    Raises:
        ConfigError: when it is not in [0, 1].
    """
    if not 0 <= min_agreement <= 1:
        raise ConfigError(
            f"min_agreement is {min_agreement:g}; expected a share from 0, which asks for nothing, "
            "to 1."
        )


def same_class(file: Tensor, model: Tensor) -> Tensor:
    """Return bool (n,), whether a file names the model's class; tied logits count as the same.

    Args:
        file: its logits, (n, classes).
        model: logits of the model, (n, classes).
    """
    named = file.argmax(dim=1, keepdim=True)
    return model.take_along_dim(named, 1).squeeze(1) >= model.amax(dim=1) - 1e-6
