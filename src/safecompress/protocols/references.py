"""`References`: what reference models (shadow models) compute of rows, for likelihood attacks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.errors import DataError, NonFiniteError
from safecompress.protocols.blocks import by_blocks
from safecompress.protocols.odds import log_odds
from safecompress.protocols.reference_logits import ReferenceLogits


@dataclass(frozen=True)
class References:
    """What reference models (shadow models) say of rows, and which rows they trained on.

    Args:
        log_odds: float64 (k, n), log p_y − log(1 − p_y) of each row's label y by each of k
            references, in nats; finite.
        seen: bool (k, n), whether the row was in that reference's training set.
        logits: the references' logits of the same rows, for attacks that compare whole answers;
            None where only the log-odds of the labels are known.
        beside: what the same reference models say of the same rows in the other files of a set, one
            entry a file; empty where the model is judged alone.

    Raises:
        DataError: on other shapes or dtypes, without a single reference, or where `beside` is of
            other models or rows.
        NonFiniteError: on NaN or infinite log-odds.

    Reference: the logit-scaled confidence of Carlini et al., S&P 2022, section V.
    """

    log_odds: Tensor
    seen: Tensor
    logits: ReferenceLogits | None = None
    beside: tuple[References, ...] = ()

    def __post_init__(self) -> None:
        given = tuple(self.log_odds.shape)
        if self.log_odds.ndim != 2 or given[0] == 0 or self.seen.shape != self.log_odds.shape:
            raise DataError(
                f"references: log_odds {given}, seen {tuple(self.seen.shape)}; expected (k, n) "
                "for both, with at least one reference."
            )
        if self.logits is not None and tuple(self.logits.models.shape) != given:
            raise DataError(
                f"references: log_odds {given}, logits of {self.logits.count} models on "
                f"{len(self.logits)} rows; expected the same models and rows."
            )
        if self.log_odds.dtype != torch.float64 or self.seen.dtype != torch.bool:
            raise DataError(
                f"references: log_odds {self.log_odds.dtype}, seen {self.seen.dtype}; "
                "expected torch.float64 and torch.bool."
            )
        if not bool(torch.isfinite(self.log_odds).all()):
            bad = int((~torch.isfinite(self.log_odds)).any(dim=0).sum())
            raise NonFiniteError(f"references: {bad} of {given[1]} rows are NaN or infinite.")
        if not all(torch.equal(self.seen, other.seen) for other in self.beside):
            raise DataError(
                "references: those of the files of a set saw other rows; expected the same models, "
                "each in every file."
            )

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, seen: Tensor) -> References:
        """Compute the log-odds of the labels from the references' logits, and keep both.

        Args:
            logits: float (k, n, classes), at least 2 classes, ideally 32-bit or wider: rounding
                to 16 bits makes rows tie and hides leakage.
            labels: int64 (n,), in [0, classes).
            seen: bool (k, n), whether the row was in that reference's training set.

        Raises:
            DataError: on other shapes or dtypes, or labels outside the classes.
            NonFiniteError: on NaN or infinite logits.
        """
        if logits.ndim != 3 or labels.shape != logits.shape[1:2] or not logits.is_floating_point():
            raise DataError(
                f"references: logits {logits.dtype} {tuple(logits.shape)}, labels "
                f"{tuple(labels.shape)}; expected float (k, n, classes) and (n,)."
            )
        count, _, classes = logits.shape
        if classes < 2:
            raise DataError(f"references: {classes} classes; log-odds need at least 2.")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise DataError(
                f"references: labels run from {int(labels.min())} to {int(labels.max())} but "
                f"the references have {classes} classes."
            )
        if not bool(torch.isfinite(logits.sum()) or torch.isfinite(logits).all()):
            bad = int((~torch.isfinite(logits)).any(dim=2).any(dim=0).sum())
            raise NonFiniteError(f"references: {bad} of {len(labels)} rows are NaN or infinite.")
        odds = by_blocks(
            lambda z, y: log_odds(z.double(), y), logits.flatten(0, 1), labels.repeat(count)
        )
        return cls(odds.reshape(count, len(labels)), seen, ReferenceLogits.of(logits))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.log_odds.shape[1]

    def take(self, index: Tensor) -> References:
        """Return what the references say of some rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        logits = None if self.logits is None else self.logits.take(index)
        beside = tuple(other.take(index) for other in self.beside)
        return References(self.log_odds[:, index], self.seen[:, index], logits, beside)

    def of_models(self, index: Tensor) -> References:
        """Return what some of the references say, which may be others for each row.

        Args:
            index: int64 (m,), positions of the references, or (m, n), those of each row.
        """
        if index.ndim == 1:
            index = index.unsqueeze(1).expand(len(index), len(self))
        return References(
            self.log_odds.gather(0, index),
            self.seen.gather(0, index),
            None if self.logits is None else self.logits.of_models(index),
            tuple(other.of_models(index) for other in self.beside),
        )

    def together(self, other: References) -> References:
        """Return the rows of both, this one's first.

        Args:
            other: of other rows, by the same reference models in the same order.

        Raises:
            DataError: when the two have different numbers of references or of classes.
        """
        if len(self.seen) != len(other.seen):
            raise DataError(
                f"references: {len(self.seen)} of one group of rows, {len(other.seen)} of the "
                "other; expected the same reference models for both."
            )
        logits = None
        if self.logits is not None and other.logits is not None:
            if self.logits.classes != other.logits.classes:
                raise DataError(
                    f"references: {self.logits.classes} classes of one group of rows, "
                    f"{other.logits.classes} of the other; expected the same classes."
                )
            logits = self.logits.together(other.logits)
        return References(
            torch.cat([self.log_odds, other.log_odds], dim=1),
            torch.cat([self.seen, other.seen], dim=1),
            logits,
            tuple(a.together(b) for a, b in zip(self.beside, other.beside, strict=True)),
        )
