"""`worth`, `require_learnt`: how right regression and multi-label models are about their rows.

A model whose targets are in another order or on another scale, or whose inputs were prepared in
another way than in training, is wrong about members and others alike. Attacks then find nothing,
and a verdict would be a false PASS. So a model must know something of the rows it was trained on.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import DataError

Numbers: TypeAlias = NDArray[np.float64]

FEWEST = 20
"""Members below which chance decides what such a test says."""
OFF_SCALE = 0.5
"""Largest share of the targets' variance that predictions explain after a change of scale, and not
before it."""
_SIGMAS = 4.0
_CAUSES = (
    "Are rows and targets in the same order, targets in the units in which the model answers, and "
    "inputs prepared as in training? A verdict would be a false PASS."
)


def worth(
    members: tuple[Numbers, Numbers],
    nonmembers: tuple[Numbers, Numbers],
    *,
    task: str,
    outputs: str | None,
) -> str:
    """Return what the model is worth on both groups, in a sentence.

    Args:
        members: predictions and targets, both (n, k).
        nonmembers: likewise.
        task: `regression` or `multi-label`.
        outputs: of `multi-label`, `logits` or `probabilities`.
    """
    said = []
    for predictions, targets in (members, nonmembers):
        if task == "regression":
            rmse = float(np.sqrt(((predictions - targets) ** 2).mean()))
            spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
            known = spread > 0
            rest = ((predictions - targets) ** 2).sum(axis=0)[known] / spread[known]
            r2 = f"{float((1 - rest).mean()):.3f}" if known.any() else "undefined"
            said.append(f"R² {r2} and RMSE {rmse:.4g}")
            continue
        from sklearn.metrics import average_precision_score, f1_score

        limit = 0.0 if outputs == "logits" else 0.5
        f1 = f1_score(targets, predictions > limit, average="macro", zero_division=0.0)
        both = [k for k in range(targets.shape[1]) if 0 < targets[:, k].sum() < len(targets)]
        precisions = [average_precision_score(targets[:, k], predictions[:, k]) for k in both]
        shown = f"{float(np.mean(precisions)):.3f}" if both else "undefined"
        said.append(f"macro-F1 {float(f1):.3f} and mAP {shown}")
    return f"The model has {said[0]} on the members, {said[1]} on the non-members."


def require_learnt(predictions: Numbers, targets: Numbers, *, task: str, where: str) -> None:
    """Refuse a model that knows nothing of the rows it was trained on.

    A model that says the same of every row is let through: it leaks nothing.

    Args:
        predictions: of the members, (n, k).
        targets: of the members, (n, k).
        task: `regression` or `multi-label`.
        where: the model's name, for messages.

    Raises:
        DataError: naming the number or label, how wrong the model is, and the likely causes.
    """
    if len(targets) < FEWEST:
        return
    varied = [
        k for k in range(targets.shape[1]) if np.ptp(predictions[:, k]) and np.ptp(targets[:, k])
    ]
    if task == "regression":
        faults = {k: _fault_of_numbers(predictions[:, k], targets[:, k]) for k in varied}
    else:
        known = {k: _standing(predictions[:, k], targets[:, k]) for k in varied}
        faults = {k: _fault_of_labels(*found) for k, found in known.items()}
        if known and all(abs(auc - 0.5) <= _SIGMAS * off < 0.25 for auc, off in known.values()):
            raise DataError(
                f"{where}: on the rows it was trained on, the model tells no label from chance. "
                f"{_CAUSES}"
            )
    for k, text in faults.items():
        if text:
            what = "number" if task == "regression" else "label"
            which = f" of {what} {k + 1}" if targets.shape[1] > 1 else ""
            raise DataError(f"{where}: {text}{which}. {_CAUSES}")


def _fault_of_numbers(said: Numbers, true: Numbers) -> str:
    error = float(((said - true) ** 2).mean())
    # Whoever trains on absolute errors may be as far off as the median is, in the mean of squares.
    if error > float(((true - np.median(true)) ** 2).mean()):
        return (
            f"on the rows it was trained on, the model is further off (RMSE {error**0.5:.4g}) than "
            "always saying their median"
        )
    explained = 1 - error / float(true.var())
    fitted = float(np.corrcoef(said, true)[0, 1]) ** 2
    if fitted - explained > OFF_SCALE:
        return (
            f"on the rows it was trained on, predictions explain {explained:.0%} of the variance, "
            f"and after a change of scale {fitted:.0%}"
        )
    return ""


def _standing(said: Numbers, true: Numbers) -> tuple[float, float]:
    """Return the AUC of a label, and its standard error for a model that guesses."""
    from sklearn.metrics import roc_auc_score

    ones = float(true.sum())
    # Hanley and McNeil, Radiology 1982.
    error = float(np.sqrt((len(true) + 1) / (12 * ones * (len(true) - ones))))
    return float(roc_auc_score(true, said)), error


def _fault_of_labels(auc: float, error: float) -> str:
    if auc >= 0.5 - _SIGMAS * error:
        return ""
    return (
        f"on the rows it was trained on, the model is more often wrong than right (AUC {auc:.3f})"
    )
