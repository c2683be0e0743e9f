"""`row_keys`, `drawn`, `shuffled`: some models of each row by lot, whatever the order of the rows.

A lot is a hash of the row's key, the model's place and the name of the draw. So each row draws for
itself: the same models in any order and in any part of the rows, and without a generator's state.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.randomness import derive

Words: TypeAlias = "NDArray[np.uint64]"

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_PLACE = np.uint64(0xFFFF)
"""The lowest bits of a lot hold the model's place, so that no two lots of a row are equal."""
_NEVER = np.uint64(0xFFFFFFFFFFFFFFFF)


def _mixed(words: Words) -> Words:
    """Return well-mixed words, each a bijection of the word given.

    Reference: splitmix64, Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators",
    OOPSLA 2014.
    """
    words = words + _STEP
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def row_keys(log_odds: Tensor) -> Words:
    """Return a key for each row, which is the same for any order of the rows or of the models.

    Args:
        log_odds: float64 (k, n), what k models say of the rows; rows with equal numbers have equal
            keys.
    """
    words = np.ascontiguousarray(log_odds.numpy()).view(np.uint64)
    return _mixed(_mixed(words).sum(axis=0, dtype=np.uint64))


def salts(seed: int, *names: str | int, count: int) -> Words:
    """Return the salts of one draw, one for each model.

    Args:
        seed: the seed.
        names: the name of the draw.
        count: number of models.
    """
    return np.array([derive(seed, *names, place) for place in range(count)], dtype=np.uint64)


def drawn(keys: Words, salt: Words, able: Tensor, *, size: int) -> Tensor:
    """Return which models each row draws, bool (b, j, k): `size` of those that are able, or all.

    Args:
        keys: (b,), the rows' keys.
        salt: (j, k), a salt for each of k models in each of j draws.
        able: bool (b, j, k), the models that may be drawn.
        size: how many are drawn where so many are able; at least 1.
    """
    places = np.arange(salt.shape[1], dtype=np.uint64)
    words = (_mixed(keys[:, None, None] ^ salt) & ~_PLACE) | places
    words = np.where(able.numpy(), words, _NEVER)
    if size < words.shape[2]:
        last = np.partition(words, size - 1, axis=2)[:, :, size - 1 : size]
        return torch.from_numpy((words <= last) & (words != _NEVER))
    return torch.from_numpy(words != _NEVER)


def shuffled(keys: Words) -> Tensor:
    """Return the places of keys in an order that is as good as random, int64 (size of `keys`,).

    Args:
        keys: of any shape; places count along its last axis first.
    """
    return torch.from_numpy(np.argsort(_mixed(keys.ravel()), kind="stable"))
