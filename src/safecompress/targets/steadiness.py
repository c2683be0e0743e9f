"""`steadiness`: whether a model gives the same answer to the same row when it is asked again."""

from __future__ import annotations

import functools
import itertools
import math
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from numbers import Number
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import DataError
from safecompress.protocols import Rows
from safecompress.train.predict import answers

_ROWS = 32
_BATCH = 8
_ROUNDING = 1e-3
"""Largest difference between two answers, in standard deviations over rows, that is rounding."""
_COMPANY = 0.05
"""The same where other rows are in the batch: kernels and dynamic quantization round otherwise."""
_WIDTH = 256
"""Most things that are looked at in one closure, list or object."""
_DEPTH = 4
"""Levels of closures and attributes of a callable that are searched for modules."""


def steadiness(
    module: nn.Module, rows: Rows, *, path: Path, model: Callable[..., Any]
) -> tuple[str, ...]:
    """Refuse a model whose answers are random or depend on the other rows; return remarks.

    A few rows are asked twice together and once more in small batches. What this changes in a
    module that a callable holds, such as statistics of a BatchNorm in training mode, is undone.

    Args:
        module: what `as_module` returned.
        rows: rows as the module takes them.
        path: the model, for messages.
        model: the model as the user gave it, which may be a callable around a module.

    Raises:
        DataError: when the answers differ by more than rounding, or asking changes the model.
    """
    few = rows.take(torch.arange(min(_ROWS, len(rows))))
    held = [] if isinstance(model, nn.Module) else list(_modules(model, _DEPTH, set()))
    before = [(buffer, buffer.detach().clone()) for inner in held for buffer in inner.buffers()]
    first, again = answers(module, few), answers(module, few)
    # In other company: every batch takes rows from all over the first one.
    order = torch.arange(len(few)).reshape(-1, _BATCH).T.flatten() if len(few) == _ROWS else None
    apart = first
    if order is not None:
        apart = torch.empty_like(first)
        apart[order] = answers(module, few.take(order), batch_size=_BATCH)
    changed = False
    with torch.no_grad():
        for buffer, was in before:
            if not torch.equal(buffer, was):
                changed = True
                buffer.copy_(was)
    twice, company = _difference(first, again), _difference(first, apart)
    if changed:
        raise DataError(
            f"{path}: asking it changes the statistics of its normalization layers, so it is in "
            "training mode. They were put back. Call eval() on the model before the audit, or give "
            "the module itself."
        )
    if twice > _ROUNDING or company > _COMPANY:
        how = "the same rows twice" if twice > _ROUNDING else "the same rows in other batches"
        raise DataError(
            f"{path}: answers differently when asked about {how} (by {max(twice, company):.2g} "
            "standard deviations of its outputs): it is in training mode, or draws at random. Call "
            "eval() on it, or fix its randomness, and load weights with BatchNorm again, whose "
            "statistics such questions may have changed."
        )
    if company > _ROUNDING:
        return (
            f"Answers depend a little on the other rows of a batch (by {company:.2g} standard "
            "deviations of the outputs), as dynamic quantization does.",
        )
    return ()


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
