"""`steady_answers`: a model's answers, if it gives the same ones when it is asked again."""

from __future__ import annotations

import functools
import itertools
import math
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Number
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.data.rows import concatenate
from safecompress.errors import DataError
from safecompress.protocols import Pool, Rows, tensors_of
from safecompress.spacing import evenly_spaced
from safecompress.train.predict import answers

_ROWS = 32
"""Members and non-members each that are asked again, from all over their groups."""
_BATCH = 8
_ALONE = 32
"""Rows that are asked one by one; of each group where groups are asked apart."""
_ROUNDING = 1e-3
"""Largest difference between two answers, in standard deviations over rows, that is rounding."""
_COMPANY = 0.05
"""The same where other rows are in the batch: kernels and dynamic quantization round otherwise."""
_WIDTH = 256
"""Most things that are looked at in one closure, list or object."""
_DEPTH = 4
"""Levels of closures and attributes of a callable that are searched for modules."""


def steady_answers(
    module: nn.Module, rows: Pool[Rows], *, path: Path, model: Callable[..., Any]
) -> tuple[Pool[Tensor], tuple[str, ...]]:
    """Return what a model says of all rows, and remarks; refuse one that says something else later.

    A few rows of both groups are asked again: together twice, in small batches whose rows come from
    all over both groups, and one by one, as whoever attacks the model may ask. What asking changes
    in a module that a callable holds, such as statistics of a BatchNorm in training mode, is
    undone.

    Args:
        module: what `as_module` returned.
        rows: members and non-members as the module takes them.
        path: the model, for messages.
        model: the model as the user gave it, which may be a callable around a module.

    Returns:
        What `answers` returns for each group.

    Raises:
        DataError: when the answers differ by more than rounding, or asking changes the model.
    """
    index = rows.map(lambda r: evenly_spaced(len(r), _ROWS))
    few = rows.zip(index, lambda r, at: r.take(at))
    with _kept(model) as changed:
        given = rows.map(lambda r: answers(module, r))
        groups, held = [few.members, few.nonmembers], given.zip(index, lambda t, at: t[at])
        said = [held.members, held.nonmembers]
        if _fit_together(few):
            groups, said = [concatenate(*groups)], [torch.cat(said)]
        together, again = ([answers(module, group) for group in groups] for _ in range(2))
        orders = [_scattered(len(group)) for group in groups]
        apart = _asked(module, groups, orders, _BATCH)
    if changed():
        raise DataError(
            f"{path}: asking it changes the statistics of its normalization layers, so it is in "
            "training mode. They were put back. Call eval() on the model before the audit, or "
            "give the module itself."
        )
    off = [
        _agreeing(together, again, "the same rows twice", path, most=_ROUNDING),
        _agreeing(_in(together, orders), apart, "the same rows in other batches", path),
        _agreeing(together, said, "the same rows in batches of hundreds", path),
    ]
    # A net in training mode, which was refused by now, takes no batch of one row.
    some = [evenly_spaced(len(group), _ALONE) for group in groups]
    alone = _asked(module, groups, some, 1)
    off.append(_agreeing(_in(together, some), alone, "the same rows one by one", path))
    remark = (
        f"Answers depend a little on the other rows of a batch (by {max(off):.2g} standard "
        "deviations of the outputs), as dynamic quantization does."
    )
    return given, (remark,) if max(off) > _ROUNDING else ()


def _fit_together(few: Pool[Rows]) -> bool:
    """Return whether both groups fit into one batch: no tables, whose kind of rows is their own."""
    kinds = few.map(lambda r: [(t.dtype, t.shape[1:]) for t in tensors_of(r.inputs)])
    return few.members.table is None and kinds.members == kinds.nonmembers


def _agreeing(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    how: str,
    path: Path,
    *,
    most: float = _COMPANY,
) -> float:
    """Return the largest difference between two answers to the same rows.

    Raises:
        DataError: when it is more than `most`.
    """
    off = max(_difference(*pair) for pair in zip(first, second, strict=True))
    if off > most:
        raise DataError(
            f"{path}: answers differently when asked about {how} (by {off:.2g} standard deviations "
            "of its outputs): it is in training mode, draws at random, or looks at the whole "
            "batch. Call eval() on it, or fix its randomness, and load weights with BatchNorm "
            "again, whose statistics such questions may have changed."
        )
    return off


def _scattered(n: int) -> Tensor:
    """Return an order of n rows in which a batch has rows from all over them."""
    order = torch.arange(-(-n // _BATCH) * _BATCH).reshape(_BATCH, -1).T.flatten()
    return order[order < n]


def _asked(
    module: nn.Module, groups: Sequence[Rows], orders: Sequence[Tensor], size: int
) -> list[Tensor]:
    """Return the answers to some rows of each group, asked in this order in batches of a size."""
    pairs = zip(groups, orders, strict=True)
    return [answers(module, group.take(order), batch_size=size) for group, order in pairs]


def _in(answered: Sequence[Tensor], orders: Sequence[Tensor]) -> list[Tensor]:
    """Return each group's answers in another order, or some of them."""
    return [group[order] for group, order in zip(answered, orders, strict=True)]


@contextmanager
def _kept(model: Callable[..., Any]) -> Iterator[Callable[[], bool]]:
    """Put the statistics of modules that a callable holds back, and tell whether they changed."""
    held = [] if isinstance(model, nn.Module) else list(_modules(model, _DEPTH, set()))
    before = [(buffer, buffer.detach().clone()) for inner in held for buffer in inner.buffers()]
    changed: list[Tensor] = []
    try:
        yield lambda: bool(changed)
    finally:
        with torch.no_grad():
            for buffer, was in before:
                if not torch.equal(buffer, was):
                    changed.append(buffer)
                    buffer.copy_(was)


def _difference(first: Tensor, second: Tensor) -> float:
    """Return the root mean square difference in standard deviations of the outputs over rows."""
    a, b = (torch.nan_to_num(t.double()) for t in (first, second))
    spread = a - a.mean(dim=0)
    scale = max(math.sqrt(float(spread.square().mean())), 1e-4 * float(a.abs().amax()), 1e-12)
    return math.sqrt(float((a - b).square().mean())) / scale


def _modules(held: Any, depth: int, seen: set[int]) -> Iterator[nn.Module]:
    """Yield the modules that a callable holds in closures, attributes, arguments and globals."""
    if id(held) in seen or depth < 0:
        return
    seen.add(id(held))
    if isinstance(held, nn.Module):
        yield held
        return
    for value in itertools.islice(_inner(held), _WIDTH):
        yield from _modules(value, depth - 1, seen)


def _inner(held: Any) -> Iterable[Any]:
    """Return what an object holds; nothing for plain values, classes and whole packages."""
    inner: Iterable[Any] = ()
    match held:
        case str() | bytes() | Number() | Tensor() | type() | types.ModuleType():
            pass
        case types.MethodType():
            inner = (held.__self__, held.__func__)
        case types.FunctionType():
            cells = (c.cell_contents for c in held.__closure__ or () if c != types.CellType())
            named = (held.__globals__.get(name) for name in held.__code__.co_names)
            inner = itertools.chain(cells, named)
        case functools.partial():
            inner = (held.func, *held.args, *held.keywords.values())
        case list() | tuple():
            inner = held
        case dict():
            inner = held.values()
        case _:
            with suppress(TypeError):
                inner = list(vars(held).values())
    return inner
