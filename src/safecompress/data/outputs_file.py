"""`RecordedOutputs` and `read_outputs`: a model's recorded outputs, which an audit needs.

With outputs from a file, a model can be audited that does not run here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safecompress.data.npz_source import list_npz, read_npz
from safecompress.data.raw import Array
from safecompress.errors import DataError, NonFiniteError
from safecompress.protocols import Evidence, Outputs, Pool, References, Rows

GROUPS = ("member", "nonmember")
MOST_BYTES = 512 << 20
"""Largest sum of arrays read from one file: 100,000 rows of 1,000 classes in fp32 are 381 MB."""
_SUM_OFF = 1e-2
"""Largest distance of a row's sum from 1 for probabilities; rounded and fp16 ones stay below."""
_TINY = 1e-38
"""Probability that stands for 0, whose logit would be infinite."""
_SAME_ROWS = 0.1
"""Share of non-members with exactly a member's outputs above which both groups are compared."""


@dataclass(frozen=True)
class RecordedOutputs:
    """Recorded outputs of one model.

    Args:
        evidence: outputs of members and non-members, with those of reference models if recorded.
        kind: `logits` or `probabilities`, whichever the model returned.
        references: number of reference models.
        path: the file, or the model's name.
        rows: the rows; their inputs have no columns where only outputs are known.
        class_names: names of the classes, by their numbers; empty where they are not known.
        remarks: what was noticed about outputs and rows when they were read, one sentence each.
    """

    evidence: Pool[Evidence]
    kind: str
    references: int
    path: Path
    rows: Pool[Rows]
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def outputs(self) -> Pool[Outputs]:
        """The outputs of both groups."""
        return self.evidence.map(lambda e: e.outputs)


def read_outputs(path: Path) -> RecordedOutputs:
    """Read recorded outputs from the arrays of an `.npz`; nothing is unpickled.

    - `member_logits` and `nonmember_logits`: floating-point (n, classes). Probabilities are
      recognized by entries in [0, 1] and rows that sum to 1.
    - `member_labels` and `nonmember_labels`: integers (n,), the true classes.
    - `member_reference_logits` and `nonmember_reference_logits`, optional: outputs of reference
      models, (models, n, classes).
    - `member_reference_seen` and `nonmember_reference_seen`, optional: bool (models, n), whether a
      row was in that model's training set; without them no row was.

    Args:
        path: the `.npz`.

    Raises:
        DataError: when the file or an array cannot be used; the message names the file, the array,
            what it holds and what was expected.
    """
    present = list_npz(path)
    names = [f"{group}_{what}" for group in GROUPS for what in ("logits", "labels")]
    with_references = [n for n in (f"{g}_reference_logits" for g in GROUPS) if n in present]
    if len(with_references) == 1:
        raise DataError(
            f"{path}: has {with_references[0]} only; reference logits are needed of both groups."
        )
    if with_references:
        names += with_references
        names += [n for n in (f"{g}_reference_seen" for g in GROUPS) if n in present]
    arrays = read_npz(path, {name: name for name in names}, most=MOST_BYTES)
    groups = {group: _group(arrays, group, path) for group in GROUPS}
    classes = {group: logits.shape[1] for group, (logits, _) in groups.items()}
    if classes["member"] != classes["nonmember"]:
        raise DataError(
            f"{path}: member_logits have {classes['member']} classes, nonmember_logits "
            f"{classes['nonmember']}; expected one model's outputs."
        )
    first = 0
    outputs = {}
    for group, (logits, labels) in groups.items():
        ids = torch.arange(first, first + len(labels))
        try:
            outputs[group] = Outputs(logits, labels, ids)
        except (DataError, NonFiniteError) as error:
            raise DataError(f"{path}: {group} {error}") from error
        first += len(labels)
    recorded = recorded_outputs(Pool(outputs["member"], outputs["nonmember"]), path=path)
    if not with_references:
        return recorded
    by_group = {g: _references(arrays, g, outputs[g], path) for g in GROUPS}
    counts = [len(by_group[g].log_odds) for g in GROUPS]
    if counts[0] != counts[1]:
        raise DataError(
            f"{path}: {counts[0]} reference models of members, {counts[1]} of non-members; "
            "expected the same models."
        )
    references = Pool(*(by_group[g] for g in GROUPS))
    evidence = recorded.evidence.zip(references, lambda e, r: replace(e, references=r))
    return replace(recorded, evidence=evidence, references=counts[0])


def recorded_outputs(
    outputs: Pool[Outputs], *, path: Path, rows: Pool[Rows] | None = None
) -> RecordedOutputs:
    """Return outputs as an audit takes them, with probabilities turned into logits.

    Args:
        outputs: the model's outputs for members and non-members.
        path: the file they are from, or the model's name.
        rows: the rows; None where only their outputs are known.

    Raises:
        DataError: when the same rows are in both groups.
    """
    both = (outputs.members, outputs.nonmembers)
    kind = "probabilities" if all(are_probabilities(o.logits) for o in both) else "logits"
    if kind == "probabilities":
        outputs = outputs.map(lambda o: Outputs(logits_of(o.logits), o.labels, o.ids))
    _refuse_copies(outputs, path)
    if rows is None:
        rows = outputs.map(lambda o: Rows(torch.zeros(len(o), 0), o.labels, o.ids))
    return RecordedOutputs(outputs.map(Evidence), kind, 0, path, rows)


def _group(arrays: dict[str, Array], group: str, path: Path) -> tuple[Tensor, Tensor]:
    logits, labels = arrays[f"{group}_logits"], arrays[f"{group}_labels"]
    where = f"{path}: array '{group}_logits'"
    if logits.dtype.kind != "f":
        raise DataError(f"{where} is of {logits.dtype}; expected floating-point numbers.")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise DataError(
            f"{where} has shape {logits.shape}; expected (rows, classes) with at least 2 classes."
            + (" Of one logit z of two classes, give the columns 0 and z." if logits.ndim else "")
        )
    if not len(logits):
        raise DataError(f"{where} has no rows.")
    return _floats(logits, where), _labels(labels, len(logits), f"{path}: array '{group}_labels'")


def _floats(array: Array, where: str) -> Tensor:
    """Return a float32 tensor; raise DataError where finite numbers would overflow float32."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, dtype=np.float32)
    # Non-finite inputs are reported by `Outputs` with their count; here only the overflow of
    # float64 to float32 is refused.
    if array.dtype.itemsize > 4 and np.isinf(single).sum() != np.isinf(array).sum():
        raise DataError(f"{where} holds numbers beyond float32's range; expected logits.")
    return torch.from_numpy(single)


def _labels(labels: Array, rows: int, where: str) -> Tensor:
    if labels.shape != (rows,):
        hint = " One-hot labels become numbers by argmax(1)." if labels.ndim == 2 else ""
        raise DataError(f"{where} has shape {labels.shape}; expected ({rows},).{hint}")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where} is of {labels.dtype}; expected integers, the true classes.")
    if labels.size and labels.dtype == np.uint64 and int(labels.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{where} holds {int(labels.max())}; expected a class.")
    return torch.from_numpy(labels.astype(np.int64))


def are_probabilities(values: Tensor) -> bool:
    """Return whether all rows are probabilities: entries in [0, 1] that sum to 1 within 0.01.

    Args:
        values: (n, classes).
    """
    in_range = bool((values >= 0).all()) and bool((values <= 1).all())
    return in_range and bool(((values.sum(dim=1) - 1).abs() <= _SUM_OFF).all())


def logits_of(probabilities: Tensor) -> Tensor:
    """Return logits whose softmax are the probabilities; gradients flow through.

    Args:
        probabilities: entries in [0, 1], rows that sum to 1; 0 counts as 1e-38.
    """
    return probabilities.clamp_min(_TINY).log()


def _references(arrays: dict[str, Array], group: str, target: Outputs, path: Path) -> References:
    name = f"{group}_reference_logits"
    array, where = arrays[name], f"{path}: array '{name}'"
    wanted = (len(target), target.classes)
    if array.dtype.kind != "f" or array.ndim != 3 or array.shape[1:] != wanted or not len(array):
        raise DataError(
            f"{where} has shape {array.shape} of {array.dtype}; expected floating-point numbers "
            f"(models, {wanted[0]}, {wanted[1]})."
        )
    logits = _floats(array, where)
    if are_probabilities(logits.flatten(0, 1)):
        logits = logits_of(logits)
    seen: Any = arrays.get(f"{group}_reference_seen")
    if seen is None:
        seen = np.zeros(array.shape[:2], dtype=bool)
    if seen.dtype != np.bool_ or seen.shape != array.shape[:2]:
        raise DataError(
            f"{path}: array '{group}_reference_seen' has shape {seen.shape} of {seen.dtype}; "
            f"expected bool {array.shape[:2]}."
        )
    try:
        return References.of(logits, target.labels, torch.from_numpy(np.ascontiguousarray(seen)))
    except (DataError, NonFiniteError) as error:
        raise DataError(f"{where}: {error}") from error


def _refuse_copies(pool: Pool[Outputs], path: Path) -> None:
    """Refuse groups that share rows, because an audit of rows against themselves finds nothing.

    Equal outputs alone are no proof: a model may have the same outputs for many different rows.
    Then they also repeat within a group, so shared outputs must be more than twice as frequent.
    """
    keys = pool.map(
        lambda o: [row.tobytes() for row in np.c_[o.logits.numpy(), o.labels.numpy()[:, None]]]
    )
    members, distinct = set(keys.members), set(keys.nonmembers)
    shared = sum(key in members for key in keys.nonmembers) / len(keys.nonmembers)
    repeated = 1 - len(distinct) / len(keys.nonmembers)
    if shared > _SAME_ROWS and shared > 2 * repeated:
        raise DataError(
            f"{path}: the same rows are in both groups: {shared:.0%} of the non-members have "
            "exactly a member's outputs; non-members are rows that the model was not trained on."
        )
