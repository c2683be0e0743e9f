"""`read_arrays` and its kin: the arrays of a file of recorded outputs, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safecompress.data.classes import ClassList, class_numbers
from safecompress.data.labels import label_values
from safecompress.data.npz_source import list_npz, read_npz
from safecompress.data.output_form import columns_of
from safecompress.data.outputs_names import CLASS_NAMES, GROUPS
from safecompress.data.own_recipe import RECIPE, REFERENCE_RECIPE
from safecompress.data.raw import Array
from safecompress.errors import ConfigError, DataError

MOST_BYTES = 512 << 20
"""Largest sum of arrays read from one file: 100,000 rows of 1,000 classes in fp32 are 381 MB."""
NEEDED = (
    "numpy.savez(path, member_logits=..., member_labels=..., nonmember_logits=..., "
    "nonmember_labels=...)"
)
_SEEN = ("train", "in", "seen")
"""Beginnings of the names that people give to arrays of members; others are non-members."""


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of outputs, labels and references that a file holds.

    Args:
        path: the `.npz`.

    Raises:
        DataError: when it is no `.npz`, or an array is missing or damaged.
    """
    if path.suffix.lower() != ".npz" and path.is_file() and not _is_zip(path):
        raise DataError(
            f"{path}: a {path.suffix or 'file'} holds no recorded outputs; expected an .npz with "
            f"four arrays, written by {NEEDED}, or a model with its rows (--data)."
        )
    present = list_npz(path, written_by=NEEDED)
    names = [f"{group}_{what}" for group in GROUPS for what in ("logits", "labels")]
    for name in names:
        if name not in present:
            raise DataError(
                f"{path}: no array '{name}'; the file holds: {', '.join(present[:20]) or 'nothing'}"
                f"{_hint(name, present)}. Write it with {NEEDED}."
            )
    references = [n for n in (f"{g}_reference_logits" for g in GROUPS) if n in present]
    if references:
        names += references
        names += [n for n in (f"{g}_reference_seen" for g in GROUPS) if n in present]
        names += [n for n in (RECIPE, REFERENCE_RECIPE) if n in present]
    names += [CLASS_NAMES] if CLASS_NAMES in present else []
    numbers = "numbers, labels as numbers of columns or as strings with an array class_names"
    return read_npz(path, {name: name for name in names}, most=MOST_BYTES, kept_as=numbers)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(2) == b"PK"


def _hint(name: str, present: list[str]) -> str:
    """Return which present array is likely meant by a missing one, by the group in its name."""
    group, _, what = name.partition("_")
    for other in present:
        first, _, rest = other.partition("_")
        if rest in {what, what.rstrip("s")} and first not in GROUPS:
            seen = first.lower().startswith(_SEEN)
            if seen == (group == "member"):
                return f"; '{other}' becomes '{name}' if it is of the {group}s"
    return ""


def target_outputs(arrays: Mapping[str, Array], group: str, path: Path) -> Tensor:
    """Return the model's outputs for a group, float32 (n, columns).

    Args:
        arrays: those of the file.
        group: `member` or `nonmember`.
        path: the file, for messages.

    Raises:
        DataError: when they are no table of floating-point numbers.
    """
    array, where = arrays[f"{group}_logits"], f"{path}: array '{group}_logits'"
    if array.dtype.kind != "f":
        one_hot = (
            " Predicted classes are not enough; record logits or probabilities."
            if array.dtype.kind in "iub"
            else ""
        )
        raise DataError(f"{where} is of {array.dtype}; expected floating-point numbers.{one_hot}")
    if array.ndim not in {1, 2} or not array.shape[-1]:
        raise DataError(
            f"{where} has shape {array.shape}; expected (rows, classes), or (rows,) for class 1 of "
            "two."
        )
    if not len(array):
        raise DataError(f"{where} has no rows.")
    return columns_of(_floats(array, where))


def labels_of(
    arrays: Mapping[str, Array],
    group: str,
    outputs: tuple[int, int],
    path: Path,
    *,
    classes: ClassList | None,
) -> Tensor:
    """Return the true classes of a group as numbers of columns, int64 (n,).

    Args:
        arrays: those of the file.
        group: `member` or `nonmember`.
        outputs: numbers of rows and of classes of the model's outputs.
        path: the file, for messages.
        classes: the classes in the order of the columns; None where nobody listed them.

    Raises:
        DataError: when there is not one label for each row, or nothing says which column it is.
    """
    given, where = arrays[f"{group}_labels"], f"{path}: array '{group}_labels'"
    labels = label_values(given, where=where)
    if len(labels) != outputs[0]:
        raise DataError(f"{where} has shape {given.shape}; expected ({outputs[0]},).")
    if labels.columns and labels.columns != outputs[1]:
        raise DataError(
            f"{where} is one-hot with {labels.columns} columns; expected {outputs[1]}, as many as "
            "the outputs have, or class numbers."
        )
    return torch.from_numpy(class_numbers(labels, classes, where=where))


def stated_classes(
    arrays: Mapping[str, Array], given: ClassList | None, path: Path
) -> ClassList | None:
    """Return the classes in the order of the columns, as the user or the file lists them.

    Args:
        arrays: those of the file.
        given: what the user listed; None where nothing.
        path: the file, for messages.

    Raises:
        ConfigError: when both list classes and differ, or names are not unique.
        DataError: when the file's names are no list.
    """
    if CLASS_NAMES not in arrays:
        return given
    names, where = arrays[CLASS_NAMES], f"{path}: array '{CLASS_NAMES}'"
    if names.ndim != 1:
        raise DataError(f"{where} has shape {names.shape}; expected one name for each column.")
    stated = ClassList.given(names, source=where)
    if given is not None and stated is not None and given.names != stated.names:
        raise ConfigError(
            f"{where} lists {stated.shown}, and {given.source} lists {given.shown}; leave one of "
            "them out."
        )
    return stated


def reference_outputs(
    arrays: Mapping[str, Array], group: str, rows: int, *, classes: int, path: Path
) -> tuple[Tensor, Tensor]:
    """Return what reference models said of a group, and which of its rows they were trained on.

    Args:
        arrays: those of the file.
        group: `member` or `nonmember`.
        rows: how many rows there must be.
        classes: of the model.
        path: the file, for messages.

    Returns:
        Outputs, float32 (models, n, columns), and bool (models, n).

    Raises:
        DataError: when they do not fit the model's outputs.
    """
    name = f"{group}_reference_logits"
    array, where = arrays[name], f"{path}: array '{name}'"
    shapes = [(rows, classes), *([(rows,), (rows, 1)] if classes == 2 else [])]
    if array.dtype.kind != "f" or array.shape[1:] not in shapes or not len(array):
        raise DataError(
            f"{where} has shape {array.shape} of {array.dtype}; expected floating-point numbers "
            f"(models, {rows}, {classes})."
        )
    seen: Any = arrays.get(f"{group}_reference_seen")
    if seen is None:
        seen = np.zeros(array.shape[:2], dtype=bool)
    if seen.dtype != np.bool_ or seen.shape != array.shape[:2]:
        raise DataError(
            f"{path}: array '{group}_reference_seen' has shape {seen.shape} of {seen.dtype}; "
            f"expected bool {array.shape[:2]}."
        )
    given = _floats(array, where)
    given = given.unsqueeze(-1) if given.ndim == 2 else given
    return given, torch.from_numpy(np.ascontiguousarray(seen))


def _floats(array: Array, where: str) -> Tensor:
    """Return a float32 tensor; raise DataError where finite numbers would overflow float32."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, dtype=np.float32)
    # Non-finite inputs are reported by `Outputs` with their count; here only the overflow of
    # float64 to float32 is refused.
    if array.dtype.itemsize > 4 and np.isinf(single).sum() != np.isinf(array).sum():
        raise DataError(f"{where} holds numbers beyond float32's range; expected logits.")
    return torch.from_numpy(single)
