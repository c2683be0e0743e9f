"""`better_preparation`: whether a model knows its members only when they are prepared otherwise.

A model that is given raw values in place of standardized ones, or the other way round, is wrong
about rows that it has learned by heart, and hides what it leaks. It can be asked: the same members
are given again with their columns standardized, scaled or in reversed order. A model that is right
far more often then was trained on such inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.checks.skill import in_errors
from safecompress.errors import FOREIGN
from safecompress.protocols import Outputs, Rows, map_inputs, tensors_of
from safecompress.randomness import permutation

_ROWS = 400
"""Most members that are given again."""
_FEWEST = 30
"""Fewest members from which anything is concluded."""
_BETTER = 0.1
"""Difference of accuracies, over all rows and over classes that weigh the same, that no sound model
shows when its inputs are changed. One that weighs classes gains in one of the two only."""
_ERRORS = 4.5
"""Standard errors that the difference needs; chance gives them once in 300,000 audits."""
_BYTE = 255.0

Bools = NDArray[np.bool_]


def better_preparation(ask: Callable[[Rows], Outputs], members: Rows, right: Tensor) -> str:
    """Return how members must be prepared for the model to know them, in words.

    The model is not asked where it is right so often that no other preparation could be better by
    far, or where no input is floating-point.

    Args:
        ask: returns the model's outputs on rows.
        members: the members as the model got them.
        right: bool (n,), whether the model is right on each.

    Returns:
        The accuracies as they are and as they would be; empty where no other preparation is better.
    """
    at = permutation(len(members), 0, "preparation")[:_ROWS]
    now, rows = right[at].numpy(), members.take(at)
    floating = any(t.is_floating_point() and t[0].numel() for t in tensors_of(rows.inputs))
    if members.table is not None or not floating or len(at) < _FEWEST:
        return ""
    if now.mean() > 1 - _BETTER:
        return ""
    labels = rows.labels.numpy()
    found = [(_asked(ask, rows, change), words) for words, change in _changes()]
    better = [(r.mean(), words) for r, words in found if r is not None and _beats(r, now, labels)]
    if not better:
        return ""
    best, words = max(better)
    return (
        f"right on {now.mean():.1%} of {len(at)} members as they are, and on {best:.1%} of the "
        f"same members {words}"
    )


def _asked(
    ask: Callable[[Rows], Outputs], rows: Rows, change: Callable[[Tensor], Tensor]
) -> Bools | None:
    """Return which rows the model is right on after a change of their inputs."""
    inputs = map_inputs(lambda t: change(t) if t.is_floating_point() else t, rows.inputs)
    try:
        answers = ask(Rows(inputs, rows.labels, rows.ids))
    except FOREIGN:  # a model need not accept other inputs than its own
        return None
    return np.asarray(answers.correct.numpy())


def _beats(new: Bools, old: Bools, labels: NDArray[np.int64]) -> bool:
    lead = new.astype(np.float64) - old
    counts = np.bincount(labels)
    by_class = np.bincount(labels, weights=lead)[counts > 0] / counts[counts > 0]
    return bool(lead.mean() > _BETTER and by_class.mean() > _BETTER and in_errors(lead) > _ERRORS)


def _changes() -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Yield preparations that are often forgotten or applied twice, each with its words."""
    yield "with standardized columns", lambda x: _standardized(x, _axes(x))
    yield "scaled to 0 to 1", lambda x: _scaled(x, _axes(x))
    yield "scaled to −1 to 1", lambda x: 2 * _scaled(x, _axes(x)) - 1
    yield "divided by 255", lambda x: x / _BYTE
    yield "times 255", lambda x: x * _BYTE
    yield "with columns or channels in reversed order", lambda x: x.flip(1) if x.ndim > 1 else x


def _axes(x: Tensor) -> tuple[int, ...]:
    """Return the axes that a statistic spans: rows of a table, all but channels of images."""
    return (0,) if x.ndim <= 2 else (0, *range(2, x.ndim))


def _standardized(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    wide = x.double()
    scale = wide.std(dim=axes, correction=0, keepdim=True)
    centered = wide - wide.mean(dim=axes, keepdim=True)
    return (centered / torch.where(scale > 0, scale, 1.0)).to(x.dtype)


def _scaled(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    low, high = x.amin(dim=axes, keepdim=True), x.amax(dim=axes, keepdim=True)
    return (x - low) / torch.where(high > low, high - low, torch.ones_like(high))
