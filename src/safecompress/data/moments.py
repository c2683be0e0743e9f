"""`fit_moments` and `channel_moments`: means and standard deviations of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safecompress.data.disk import chunks, taken
from safecompress.data.raw import Array
from safecompress.errors import DataError


@dataclass(frozen=True)
class Moments:
    """What standardizes features.

    Args:
        mean: float64 (features,); 0 for features that are left alone.
        std: float64 (features,), above 0; 1 for features that are left alone.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def fit_moments(x: Array, rows: NDArray[np.int64], features: str) -> Moments:
    """Return the mean and standard deviation of features, in float64 and in little memory.

    Args:
        x: (n, features), finite.
        rows: int64, indices of the rows to learn from, at least one.
        features: `none` leaves every feature alone; `auto` leaves features alone that are 0 or 1
            in all these rows; `standardize` leaves none alone. A constant feature is only centered.

    Raises:
        DataError: when values are too large for their mean or spread to be a float64.
    """
    width = x.shape[1]
    mean, std = np.zeros(width), np.ones(width)
    if features == "none":
        return Moments(mean, std)
    total, squares = np.zeros(width), np.zeros(width)
    binary, constant = np.ones(width, dtype=bool), np.ones(width, dtype=bool)
    start = x[rows[0]].copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for part in chunks(len(rows), row_bytes=8 * width):
            block = taken(x, rows[part])
            total += block.sum(axis=0, dtype=np.float64)
            binary &= ((block == 0) | (block == 1)).all(axis=0)
            constant &= (block == start).all(axis=0)
        # The mean of equal values can differ from them in the last bit.
        mean = np.where(constant, start.astype(np.float64), total / len(rows))
        for part in chunks(len(rows), row_bytes=8 * width):
            squares += ((taken(x, rows[part]).astype(np.float64) - mean) ** 2).sum(axis=0)
        std = np.sqrt(squares / len(rows))
    if not np.isfinite(mean).all() or not np.isfinite(std).all():
        raise DataError(
            "features: values are too large to standardize (their squares overflow float64); "
            "rescale them, or remove what stands for a missing value."
        )
    std[std == 0] = 1.0
    if features == "auto":
        mean[binary], std[binary] = 0.0, 1.0
    return Moments(mean, std)


def channel_moments(pixels: Array, rows: NDArray[np.int64], scale: float) -> tuple[float, float]:
    """Return the mean and standard deviation (1 for a constant channel) of a channel of images.

    Args:
        pixels: all images' values of the channel, (n, height, width).
        rows: int64, indices of the images to learn from, at least one.
        scale: number by which pixels are divided first.

    Raises:
        DataError: when values are too large for their mean or spread to be a float64.
    """
    if pixels.dtype == np.uint8:
        counts = np.zeros(256, dtype=np.int64)
        for part in chunks(len(rows), row_bytes=8 * int(np.prod(pixels.shape[1:]))):
            counts += np.bincount(taken(pixels, rows[part]).ravel(), minlength=256)
        levels = np.arange(256) / scale
        mean = float(counts @ levels / counts.sum())
        std = float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))
        constant = np.count_nonzero(counts) == 1
    else:
        chosen = pixels[rows].astype(np.float64) / scale
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = float(chosen.mean()), float(chosen.std())
        constant = bool((chosen == chosen.flat[0]).all())
    if not np.isfinite(std):
        raise DataError("images: values are too large to normalize; rescale them.")
    return mean, 1.0 if constant or std == 0 else std
