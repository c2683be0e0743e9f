"""Encoders of arrays, images and columns: what is learned from members, and how it is applied.

An encoder is plain state that can be written to JSON. Text columns have an encoder in
`safecompress.data.text`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safecompress.config import PreprocessingConfig, Section
from safecompress.data.disk import chunks, taken
from safecompress.data.moments import channel_moments, fit_moments
from safecompress.data.raw import Array
from safecompress.errors import DataError

_CHANNELS = (1, 3, 4)


class ArrayEncoder(Section):
    """An array of numbers, standardized feature by feature: (x - mean) / std.

    Args:
        shape: shape of one row in the source.
        flatten: whether an encoded row is one vector instead of an array of `shape`.
        mean, std: per feature in row-major order; 0 and 1 for features that are left alone.
        whole: whether rows are whole numbers that stay so, as the indices that embeddings look up.
    """

    kind: Literal["array"] = "array"
    shape: tuple[int, ...]
    flatten: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    whole: bool = False

    @classmethod
    def fit(cls, x: Array, rows: NDArray[np.int64], config: PreprocessingConfig) -> ArrayEncoder:
        """Learn the mean and standard deviation of every feature.

        Args:
            x: all rows of the source, (n, ...).
            rows: int64, indices of the members, from which alone it learns.
            config: its `features` and `layout` are read.

        Raises:
            DataError: when values are too large to standardize.
        """
        moments = fit_moments(x.reshape(len(x), -1), rows, config.features)
        return cls(
            shape=x.shape[1:],
            flatten=config.layout == "table",
            mean=tuple(moments.mean.tolist()),
            std=tuple(moments.std.tolist()),
            whole=config.features == "none" and x.dtype.kind == "i",
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one encoded row."""
        return (len(self.mean),) if self.flatten else self.shape

    def encode(self, x: Array, rows: NDArray[np.int64]) -> NDArray[np.float32] | NDArray[np.int64]:
        """Return encoded rows, float32 or, if `whole`, int64 (len(rows), *output_shape).

        Args:
            x: all rows of a source, (n, ...).
            rows: int64, indices of the rows to encode.

        Raises:
            DataError: when rows have another shape than those it was fitted on, or are no whole
                numbers and those were.
        """
        check_shape(x, self.shape)
        flat = x.reshape(len(x), -1)
        if self.whole:
            if x.dtype.kind not in "iu":
                raise DataError(f"rows of type {x.dtype}; the model takes whole numbers.")
            return flat[rows].astype(np.int64).reshape(len(rows), *self.output_shape)
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        out = np.empty((len(rows), flat.shape[1]), dtype=np.float32)
        with np.errstate(over="ignore"):
            for part in chunks(len(rows), row_bytes=8 * flat.shape[1]):
                out[part] = (taken(flat, rows[part]).astype(np.float64) - mean) / std
        return out.reshape(len(rows), *self.output_shape)


class ImageEncoder(Section):
    """Images as float32 channels × height × width, normalized channel by channel.

    Args:
        shape: shape of one image in the source.
        channel_axis: axis of the channels in `shape`; None for gray images without one.
        scale: number by which pixels are divided: 255 for uint8, 1 otherwise.
        mean, std: per channel, after scaling.
    """

    kind: Literal["image"] = "image"
    shape: tuple[int, ...]
    channel_axis: Literal[0, 2] | None
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, x: Array, rows: NDArray[np.int64], config: PreprocessingConfig) -> ImageEncoder:
        """Learn the mean and standard deviation of every channel.

        Args:
            x: all images of the source, (n, height, width) or with an axis of channels.
            rows: int64, indices of the members, from which alone it learns.
            config: its `features` are read.

        Raises:
            DataError: when the array is no stack of images, or values are too large.
        """
        axis = channel_axis(x.shape)
        scale = 255.0 if x.dtype == np.uint8 else 1.0
        channels = 1 if axis is None else x.shape[1:][axis]
        mean, std = np.zeros(channels), np.ones(channels)
        if config.features != "none":
            for c in range(channels):
                mean[c], std[c] = channel_moments(_channel(x, axis, c), rows, scale)
        return cls(
            shape=x.shape[1:],
            channel_axis=axis,
            scale=scale,
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Channels × height × width."""
        rest = [size for i, size in enumerate(self.shape) if i != self.channel_axis]
        return (len(self.mean), *rest)

    def encode(self, x: Array, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return encoded images, float32 (len(rows), channels, height, width).

        Args:
            x: all images of a source, of the shape and type that it was fitted on.
            rows: int64, indices of the rows to encode.

        Raises:
            DataError: when images have another shape or type than those it was fitted on.
        """
        check_shape(x, self.shape)
        if (self.scale == 255.0) != (x.dtype == np.uint8):
            raise DataError(
                f"images of type {x.dtype}; expected "
                f"{'uint8' if self.scale == 255.0 else 'another type than uint8'}, as in training."
            )
        out = np.empty((len(rows), *self.output_shape), dtype=np.float32)
        levels = np.arange(256, dtype=np.float64)
        with np.errstate(over="ignore"):
            for part in chunks(len(rows), row_bytes=8 * int(np.prod(self.shape))):
                block = taken(x, rows[part])
                for c, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
                    pixels = _channel(block, self.channel_axis, c)
                    if x.dtype == np.uint8:
                        table = ((levels / self.scale - mean) / std).astype(np.float32)
                        out[part, c] = table[pixels]
                    else:
                        out[part, c] = (pixels.astype(np.float64) / self.scale - mean) / std
        return out


class NumericEncoder(Section):
    """A column of numbers; missing ones become the members' mean before standardizing.

    There is no indicator feature that tells whether a number was missing.

    Args:
        name: the column's name.
        fill: value that stands for missing numbers.
        mean, std: subtracted and divided by; 0 and 1 for a column that is left alone.
    """

    kind: Literal["numeric"] = "numeric"
    name: str
    fill: float
    mean: float
    std: float

    @classmethod
    def fit(cls, name: str, values: Array, config: PreprocessingConfig) -> NumericEncoder:
        """Learn fill value, mean and standard deviation; without any number they are 0, 0 and 1.

        Args:
            name: the column's name.
            values: float64 (n,), the members' values, NaN where missing.
            config: its `features` are read.

        Raises:
            DataError: when values are too large to standardize.
        """
        known = values[~np.isnan(values)][:, None]
        if len(known) == 0:
            return cls(name=name, fill=0.0, mean=0.0, std=1.0)
        rows = np.arange(len(known))
        fill = float(fit_moments(known, rows, "standardize").mean[0])
        filled = np.where(np.isnan(values), fill, values)[:, None]
        moments = fit_moments(filled, np.arange(len(filled)), config.features)
        return cls(name=name, fill=fill, mean=float(moments.mean[0]), std=float(moments.std[0]))

    @property
    def width(self) -> int:
        """Number of features."""
        return 1

    def encode(self, values: Array) -> NDArray[np.float32]:
        """Return encoded values, float32 (n, 1).

        Args:
            values: float64 (n,), NaN where missing.
        """
        filled = np.where(np.isnan(values), self.fill, values)
        with np.errstate(over="ignore"):
            return ((filled - self.mean) / self.std).astype(np.float32)[:, None]


class CategoricalEncoder(Section):
    """A column of categories with one 0/1 feature for each category that members have.

    A category that no member has becomes all zeros. An empty cell is a category like any other.

    Args:
        name: the column's name.
        categories: the members' categories, in the order of the features.
    """

    kind: Literal["categorical"] = "categorical"
    name: str
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, values: Array) -> CategoricalEncoder:
        """Learn the members' categories, in alphabetical order.

        Args:
            name: the column's name.
            values: strings (n,), the members' values.
        """
        return cls(name=name, categories=tuple(sorted({str(v) for v in values})))

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.categories)

    def encode(self, values: Array) -> NDArray[np.float32]:
        """Return encoded values, float32 (n, width), with at most one 1 in each row.

        Args:
            values: strings (n,).
        """
        index = {category: i for i, category in enumerate(self.categories)}
        features = np.array([index.get(str(v), -1) for v in values], dtype=np.int64)
        out = np.zeros((len(values), self.width), dtype=np.float32)
        known = np.flatnonzero(features >= 0)
        out[known, features[known]] = 1.0
        return out


def check_shape(x: Array, shape: tuple[int, ...]) -> None:
    """Check that rows have the shape that an encoder was fitted on.

    Args:
        x: rows (n, ...).
        shape: shape of one row that the encoder was fitted on.

    Raises:
        DataError: when they differ; the message names both shapes.
    """
    if x.shape[1:] != shape:
        raise DataError(
            f"inputs of shape {x.shape[1:]} per row; the preprocessing was fitted on {shape}."
        )


def channel_axis(shape: tuple[int, ...]) -> Literal[0, 2] | None:
    """Return the axis of the channels within one image; None for gray images without one.

    Args:
        shape: shape of a stack of images, (n, ...).

    Raises:
        DataError: when the array is no stack of images, or both or neither axis can be channels.
    """
    if len(shape) == 3:
        return None
    remedy = "set preprocessing.layout to table, or arrange the array as N×H×W×C or N×C×H×W"
    if len(shape) != 4:
        raise DataError(
            f"inputs of shape {shape} are no images; expected N×H×W, N×H×W×C or N×C×H×W: {remedy}."
        )
    first_fits, last_fits = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first_fits == last_fits:
        which = "both the second and the last axis" if first_fits else "neither axis"
        raise DataError(
            f"inputs of shape {shape}: {which} can be the channels (1, 3 or 4); {remedy}."
        )
    return 0 if first_fits else 2


def _channel(x: Array, axis: Literal[0, 2] | None, c: int) -> Array:
    if axis is None:
        return x
    return x[:, c] if axis == 0 else x[..., c]
