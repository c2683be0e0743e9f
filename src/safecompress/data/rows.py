"""What may be asked of any `Rows`: a digest, a check, a part of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from safecompress.data.raw import first
from safecompress.errors import DataError, SplitOverlapError
from safecompress.protocols import Inputs, Rows, map_inputs, tensors_of


def rows_digest(*groups: Rows) -> str:
    """Return the SHA-256 of rows' inputs, labels and ids, as hex."""
    digest = hashlib.sha256()
    for rows in groups:
        for name, tensor in named_tensors(rows):
            plain = tensor.detach().cpu().contiguous()
            digest.update(f"{name}|{plain.dtype}|{tuple(plain.shape)}|".encode())
            if plain.numel():
                digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def named_tensors(rows: Rows) -> list[tuple[str, Tensor]]:
    """Return every tensor of `rows` with its name, inputs first, always in the same order."""
    inputs = rows.inputs
    if isinstance(inputs, Tensor):
        named = [("inputs", inputs)]
    elif isinstance(inputs, tuple):
        named = [(f"inputs.{i}", tensor) for i, tensor in enumerate(inputs)]
    else:
        named = [(f"inputs.{key}", inputs[key]) for key in sorted(inputs)]
    return [*named, ("labels", rows.labels), ("ids", rows.ids)]


def rows_from_named(tensors: Mapping[str, Tensor]) -> Rows:
    """Rebuild rows from the tensors that `named_tensors` named.

    Raises:
        DataError: when inputs, labels or ids are missing or do not fit together.
    """
    given = {n.removeprefix("inputs."): t for n, t in tensors.items() if n.startswith("inputs.")}
    inputs: Inputs
    if "inputs" in tensors:
        inputs = tensors["inputs"]
    elif all(name.isdigit() for name in given):
        inputs = tuple(given[name] for name in sorted(given, key=int))
    else:
        inputs = given
    missing = [name for name in ("labels", "ids") if name not in tensors]
    if missing or not tensors_of(inputs):
        raise DataError(f"rows: no {' and '.join(missing) or 'inputs'} among {sorted(tensors)}.")
    return Rows(inputs, tensors["labels"], tensors["ids"])


def slice_rows(rows: Rows, begin: int, end: int) -> Rows:
    """Return rows `begin` to `end` as views, not copies."""
    inputs = map_inputs(lambda t: t[begin:end], rows.inputs)
    return Rows(inputs, rows.labels[begin:end], rows.ids[begin:end])


def concatenate(*groups: Rows) -> Rows:
    """Return the rows of several groups of one source, in their order."""
    first_group, *others = (dict(named_tensors(rows)) for rows in groups)
    return rows_from_named(
        {name: torch.cat([t, *(o[name] for o in others)]) for name, t in first_group.items()}
    )


def input_shape(rows: Rows) -> tuple[int, ...]:
    """Return the shape of one row's first input tensor."""
    return tuple(named_tensors(rows)[0][1].shape[1:])


def check_ids(name: str, rows: Rows) -> None:
    """Refuse rows whose ids occur twice.

    Raises:
        SplitOverlapError: naming the first of them.
    """
    unique, counts = torch.unique(rows.ids, return_counts=True)
    if len(unique) < len(rows):
        again = unique[counts > 1]
        raise SplitOverlapError(
            f"{name} holds {len(again)} rows more than once ({first(again.tolist())}); an id names "
            "one row."
        )


def check_rows(name: str, rows: Rows, classes: int) -> None:
    """Refuse rows that cannot be trained on or judged.

    Raises:
        DataError: on no rows, wrong types, labels outside the classes, NaN or infinity.
    """
    if len(rows) == 0:
        raise DataError(f"{name}: no rows.")
    for what, tensor in (("labels", rows.labels), ("ids", rows.ids)):
        if tensor.dtype != torch.int64 or tensor.ndim != 1:
            raise DataError(
                f"{name}.{what}: {tensor.dtype} of shape {tuple(tensor.shape)}; "
                "expected int64 (n,)."
            )
    low, high = int(rows.labels.min()), int(rows.labels.max())
    if low < 0 or high >= classes:
        raise DataError(f"{name}: labels run from {low} to {high}; expected 0 to {classes - 1}.")
    for what, tensor in named_tensors(rows):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = ~torch.isfinite(tensor.reshape(len(tensor), -1)).all(dim=1)
            raise DataError(
                f"{name}.{what}: NaN or infinity in {int(bad.sum())} rows "
                f"({first(rows.ids[bad].tolist())}); drop them or fill the values in."
            )
