"""Functions of `Rows`: digests, checks, names and sizes of tensors, parts and concatenation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from safecompress.data.disk import ScratchFile, chunks, is_mapped
from safecompress.data.raw import first
from safecompress.errors import DataError, SplitOverlapError
from safecompress.protocols import Inputs, Rows, map_inputs, tensors_of


def rows_digest(*groups: Rows) -> str:
    """Return the SHA-256 of the inputs, labels and ids of rows, as hex.

    Args:
        *groups: groups of rows; their order matters.
    """
    digest = hashlib.sha256()
    for rows in groups:
        for name, tensor in named_tensors(rows):
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            row_bytes = tensor.element_size() * tensor.shape[1:].numel()
            for part in chunks(len(tensor) if tensor.numel() else 0, row_bytes=row_bytes):
                plain = tensor[part].detach().cpu().contiguous()
                digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def named_tensors(rows: Rows) -> list[tuple[str, Tensor]]:
    """Return every tensor of rows with its name, inputs first, always in the same order.

    Args:
        rows: the rows; inputs by name come in alphabetical order.
    """
    inputs = rows.inputs
    if isinstance(inputs, Tensor):
        named = [("inputs", inputs)]
    elif isinstance(inputs, tuple):
        named = [(f"inputs.{i}", tensor) for i, tensor in enumerate(inputs)]
    else:
        named = [(f"inputs.{key}", inputs[key]) for key in sorted(inputs)]
    return [*named, ("labels", rows.labels), ("ids", rows.ids)]


def size_of(rows: Rows) -> int:
    """Return the bytes of all tensors of rows.

    Args:
        rows: the rows.
    """
    return rows.row_bytes * len(rows) + sum(t.nbytes for t in (rows.labels, rows.ids))


def rows_from_named(tensors: Mapping[str, Tensor]) -> Rows:
    """Return the rows whose tensors `named_tensors` named.

    Args:
        tensors: tensors by name: `labels`, `ids`, and `inputs` or several `inputs.NAME`.

    Raises:
        DataError: when inputs, labels or ids are missing or do not fit together.
    """
    parts = {n.removeprefix("inputs."): t for n, t in tensors.items() if n.startswith("inputs.")}
    inputs: Inputs
    if "inputs" in tensors:
        inputs = tensors["inputs"]
    elif all(name.isdigit() for name in parts):
        inputs = tuple(parts[name] for name in sorted(parts, key=int))
    else:
        inputs = parts
    missing = [name for name in ("labels", "ids") if name not in tensors]
    if missing or not tensors_of(inputs):
        raise DataError(f"rows: no {' and '.join(missing) or 'inputs'} among {sorted(tensors)}.")
    return Rows(inputs, tensors["labels"], tensors["ids"])


def slice_rows(rows: Rows, begin: int, end: int) -> Rows:
    """Return consecutive rows as views, without a copy.

    Args:
        rows: the rows.
        begin: position of the first row.
        end: position after the last row.
    """
    inputs = map_inputs(lambda t: t[begin:end], rows.inputs)
    source = None if rows.source is None else rows.source.between(begin, end)
    return Rows(inputs, rows.labels[begin:end], rows.ids[begin:end], source)


def concatenate(*groups: Rows) -> Rows:
    """Return the rows of several groups, one group after the other.

    Args:
        *groups: at least one group; inputs have the same structure in all of them.
    """
    first_group, *others = (dict(named_tensors(rows)) for rows in groups)
    return rows_from_named(
        {name: _joined([t, *(o[name] for o in others)]) for name, t in first_group.items()}
    )


def _joined(parts: list[Tensor]) -> Tensor:
    """Return tensors one after the other, on disk where one of them is."""
    if not any(is_mapped(part) for part in parts):
        return torch.cat(parts)
    head = parts[0][:0].numpy()
    with ScratchFile(sum(map(len, parts)), head.shape[1:], head.dtype) as file:
        for part in parts:
            for piece in chunks(len(part), row_bytes=part.element_size() * part[:1].numel()):
                file.write(part[piece].numpy())
        return file.tensor()


def input_shape(rows: Rows) -> tuple[int, ...]:
    """Return the shape of one row's first input tensor.

    Args:
        rows: the rows.
    """
    none = rows.take(torch.zeros(0, dtype=torch.int64))
    return tuple(named_tensors(none)[0][1].shape[1:])


def check_ids(name: str, rows: Rows) -> None:
    """Check that no two rows have the same id.

    Args:
        name: the group's name in messages.
        rows: the rows.

    Raises:
        SplitOverlapError: when an id occurs twice; the message names the first ones.
    """
    unique, counts = torch.unique(rows.ids, return_counts=True)
    if len(unique) < len(rows):
        again = unique[counts > 1]
        raise SplitOverlapError(
            f"{name} holds {len(again)} rows more than once ({first(again.tolist())}); an id names "
            "one row."
        )


def check_rows(name: str, rows: Rows, classes: int) -> None:
    """Check that rows can be trained on and judged.

    Args:
        name: the group's name in messages.
        rows: the rows.
        classes: number of classes.

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
        # A finite sum proves that all values are finite, without a copy.
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum())):
            bad = ~torch.isfinite(tensor.reshape(len(tensor), -1)).all(dim=1)
            if not bool(bad.any()):
                continue
            raise DataError(
                f"{name}.{what}: NaN or infinity in {int(bad.sum())} rows "
                f"({first(rows.ids[bad].tolist())}); drop them or fill the values in."
            )
