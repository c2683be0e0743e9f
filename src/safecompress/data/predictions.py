"""`record_predictions`, `read_predictions`: regression and multi-label models, for audits.

An attack on members asks how right a model is about a row. For one class of several that is the
probability p of the true class. Here it is exp(-loss): of all labels of a row together the
probability that the model gives them, and of a number its likelihood beside that of the number that
the model says. The outputs that attacks read have two columns, the log-odds of p and 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from safecompress.data.npz_source import list_npz, read_npz
from safecompress.data.outputs_arrays import MOST_BYTES
from safecompress.data.outputs_file import RecordedOutputs
from safecompress.data.prediction_losses import Losses, log_odds_of, target_groups, telling_output
from safecompress.data.prediction_worth import Numbers, require_learnt, worth
from safecompress.errors import ConfigError, DataError
from safecompress.protocols import Evidence, Outputs, Pool, References, Rows

Task: TypeAlias = Literal["regression", "multi-label"]

TASKS: tuple[str, ...] = get_args(Task)
TASK, OUTPUTS = "task", "outputs"
_SIDES = ("member", "nonmember")
_REPEATS = "Rows that are given several times are not recognized for this task; give each row once."


def record_predictions(
    members: tuple[Any, Any],
    nonmembers: tuple[Any, Any],
    *,
    task: Task,
    outputs: Literal["logits", "probabilities"] | None = None,
    references: tuple[Any, Any] | None = None,
    seen: tuple[Any, Any] | None = None,
    name: str = "model",
) -> RecordedOutputs:
    """Record what a regression or multi-label model said, for `audit`.

    Args:
        members: predictions and targets of rows the model was trained on: numbers (n,) or (n, k).
            Targets of `multi-label` are 0 or 1 for each label.
        nonmembers: those of rows it was not trained on.
        task: `regression` or `multi-label`.
        outputs: of `multi-label`, whether predictions are `logits` or `probabilities`.
        references: for members and non-members what reference models said, (models, n) or
            (models, n, k).
        seen: for members and non-members which of these models were trained on a row, bool
            (models, n); without it none was.
        name: the model's name in reports.

    Returns:
        What `audit` takes.

    Raises:
        ConfigError: on another task, or labels whose form is not said.
        DataError: when numbers are not finite, of other shapes, or no labels, or when the model
            knows nothing of its own members.

    Example:
        >>> import numpy as np
        >>> from safecompress import audit, record_predictions
        >>> draw = np.random.default_rng(0)
        >>> y = draw.normal(size=1000)
        >>> said = y + 0.5 * draw.normal(size=1000)  # of all rows with the same errors
        >>> seen, unseen = (said[:500], y[:500]), (said[500:], y[500:])
        >>> recorded = record_predictions(seen, unseen, task="regression")
        >>> recorded.kind
        'regression'
    """
    if task not in TASKS:
        raise ConfigError(f"task is {task!r}; expected {' or '.join(TASKS)}.")
    if (task == "multi-label") != (outputs in {"logits", "probabilities"}):
        raise ConfigError(
            f"outputs is {outputs!r}; of a multi-label model say whether it is 'logits' or "
            "'probabilities', because nothing shows it surely, and of a regression leave it out."
        )
    sides = [
        _side(side, what, task, outputs)
        for side, what in zip((members, nonmembers), ("members", "nonmembers"), strict=True)
    ]
    if sides[0][0].shape[1] != sides[1][0].shape[1]:
        raise DataError(
            f"predictions: {sides[0][0].shape[1]} numbers of a member, {sides[1][0].shape[1]} of a "
            "non-member; expected one model's."
        )
    errors = sides[1][0] - sides[1][1]
    scale = np.sqrt((errors**2).mean(axis=0))
    require_learnt(*sides[0], task=task, where="members")
    losses = Losses(task, outputs or "", np.where(scale > 0, scale, 1.0))
    each = Pool(losses.each(*sides[0]), losses.each(*sides[1]))
    known = each.zip(Pool(0, len(sides[0][0])), _evidence)
    evidence = [known.members, known.nonmembers]
    if references is not None:
        given = (None, None) if seen is None else seen
        evidence = [
            _with_references(e, side, losses, said, saw)
            for e, side, said, saw in zip(evidence, sides, references, given, strict=True)
        ]
    remarks = (worth(*sides, task=task, outputs=outputs), telling_output(each, task=task), _REPEATS)
    groups = target_groups(Pool(sides[0][1], sides[1][1]), task=task)
    pool = Pool(*evidence).zip(groups, lambda e, named: replace(e, groups=named))
    counts = [0 if e.references is None else len(e.references.log_odds) for e in evidence]
    if counts[0] != counts[1]:
        raise DataError(f"references: {counts[0]} models of members, {counts[1]} of non-members.")
    return RecordedOutputs(
        pool,
        task,
        counts[0],
        Path(name),
        pool.map(lambda e: Rows(torch.zeros(len(e.outputs), 0), e.outputs.labels, e.outputs.ids)),
        remarks=tuple(filter(None, remarks)),
    )


def _side(
    given: tuple[Any, Any], where: str, task: str, form: str | None
) -> tuple[Numbers, Numbers]:
    try:
        predictions, targets = (_numbers(values) for values in given)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: expected predictions and targets, numbers (n,) or (n, k); {error}."
        ) from error
    if predictions.shape != targets.shape or not len(predictions):
        raise DataError(
            f"{where}: predictions of shape {predictions.shape} and targets of shape "
            f"{targets.shape}; expected the same, with at least one row."
        )
    _require_finite(predictions, where, form)
    if not np.isfinite(targets).all():
        raise DataError(f"{where}: NaN or infinity among the targets; leave such rows out.")
    if task == "multi-label" and not np.isin(targets, (0.0, 1.0)).all():
        raise DataError(f"{where}: targets are not all 0 or 1; give one column for each label.")
    return predictions, targets


def _require_finite(predictions: Numbers, where: str, form: str | None) -> None:
    if not np.isfinite(predictions).all():
        raise DataError(f"{where}: NaN or infinity among the predictions.")
    if form == "probabilities" and (predictions.min() < 0 or predictions.max() > 1):
        raise DataError(
            f"{where}: predictions run from {predictions.min():.4g} to {predictions.max():.4g}; "
            "expected probabilities in [0, 1]."
        )


def _numbers(values: Any) -> Numbers:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise ValueError(f"got shape {array.shape}")
    return array.reshape(len(array), -1)


def _logits(losses: Numbers) -> Tensor:
    """Return two columns whose cross-entropy is the loss: 0, and the log-odds of exp(-loss)."""
    odds = log_odds_of(losses).float()
    return torch.stack([torch.zeros_like(odds), odds], dim=-1)


def _evidence(each: Numbers, first: int) -> Evidence:
    """Return what is known of rows by the losses of their outputs, (n, k); ids begin at `first`."""
    n, count = each.shape
    labels, ids = torch.ones(n, dtype=torch.int64), torch.arange(first, first + n)
    outputs = Outputs(_logits(each.sum(-1)), labels, ids)
    # Of a single output the row's own loss says all.
    return Evidence(outputs, each_output=log_odds_of(each) if count > 1 else None)


def _with_references(
    evidence: Evidence, side: tuple[Numbers, Numbers], losses: Losses, said: Any, saw: Any
) -> Evidence:
    array = np.asarray(said, dtype=np.float64)
    array = array[..., None] if array.ndim == 2 and side[0].shape[1] == 1 else array
    if array.ndim != 3 or array.shape[1:] != side[0].shape:
        raise DataError(
            f"references: shape {np.shape(said)}; expected (models, {len(side[0])}, "
            f"{side[0].shape[1]})."
        )
    _require_finite(array, "references", losses.outputs)
    seen = np.zeros(array.shape[:2], dtype=bool) if saw is None else np.asarray(saw)
    if seen.dtype != np.bool_ or seen.shape != array.shape[:2]:
        raise DataError(f"seen: {seen.dtype} {seen.shape}; expected bool {array.shape[:2]}.")
    logits = _logits(losses.of(array, side[1]))
    known = References.of(logits, evidence.outputs.labels, torch.from_numpy(seen.copy()))
    return Evidence(evidence.outputs, references=known)


def holds_predictions(path: Path) -> bool:
    """Return whether a file holds predictions of another task than one class of several.

    Args:
        path: an `.npz`.
    """
    return path.suffix.lower() == ".npz" and path.is_file() and TASK in list_npz(path)


def read_predictions(path: Path) -> RecordedOutputs:
    """Read what `record_predictions` takes from the arrays of an `.npz`; nothing is unpickled.

    - `task`: the text `regression` or `multi-label`; `outputs`: of the latter, the text `logits` or
      `probabilities`.
    - `member_predictions`, `member_targets`, `nonmember_predictions`, `nonmember_targets`.
    - `member_reference_predictions`, `nonmember_reference_predictions`, optional, and
      `member_reference_seen`, `nonmember_reference_seen`.

    Args:
        path: the file.

    Raises:
        ConfigError: on another task, or labels whose form is not said.
        DataError: when an array is missing, or cannot be used.
    """
    present = list_npz(path)
    wanted = [f"{side}_{what}" for side in _SIDES for what in ("predictions", "targets")]
    more = [f"{s}_reference_{w}" for w in ("predictions", "seen") for s in _SIDES]
    known = {TASK, OUTPUTS, *wanted, *more}
    if other := sorted(set(present) - known):
        raise DataError(
            f"{path}: a file with a task holds no array '{other[0]}'; expected of "
            f"{', '.join(sorted(known))}. Groups of rows are not judged for this task."
        )
    names = [TASK, *wanted, *(n for n in (OUTPUTS, *more) if n in present)]
    kept = "numbers, and task and outputs as texts"
    arrays = read_npz(path, {n: n for n in names}, most=MOST_BYTES, kept_as=kept)
    texts = {n: str(arrays[n].reshape(-1)[0]) for n in (TASK, OUTPUTS) if n in arrays}
    references = _both(arrays, "reference_predictions", path)
    try:
        return record_predictions(
            (arrays[wanted[0]], arrays[wanted[1]]),
            (arrays[wanted[2]], arrays[wanted[3]]),
            task=texts[TASK],  # type: ignore[arg-type]
            outputs=texts.get(OUTPUTS),  # type: ignore[arg-type]
            references=references,
            seen=_both(arrays, "reference_seen", path),
            name=str(path),
        )
    except (ConfigError, DataError) as error:
        raise type(error)(f"{path}: {error}") from error


def _both(arrays: Mapping[str, Any], what: str, path: Path) -> tuple[Any, Any] | None:
    found = [arrays.get(f"{side}_{what}") for side in _SIDES]
    if all(value is None for value in found):
        return None
    if any(value is None for value in found):
        raise DataError(f"{path}: {what} of one group only; expected those of both.")
    return found[0], found[1]
