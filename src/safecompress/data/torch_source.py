"""`TorchRows` and `raw_from_dataset`: rows of a torch Dataset from a function of the user."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset

from safecompress.config import TorchSource
from safecompress.data.raw import Array, RawData, raw_from_arrays
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import ConfigError, DataError, SafeCompressError
from safecompress.imports import current_folder_importable, import_callable
from safecompress.randomness import seeded


class TorchRows(TorchSource, DataSource):
    """Rows of a torch Dataset that a function of the user returns."""

    source: Literal["torch"] = "torch"

    def load(self, *, seed: int | None) -> RawData:
        """Call the factory and read its rows.

        Args:
            seed: seed of torch's global generators during the call.

        Raises:
            ConfigError: when the function cannot be imported.
            DataError: when the function fails, or does not return a Dataset or a pair of them.
        """
        where = f"torch {self.factory}"
        with current_folder_importable(), nullcontext() if seed is None else seeded(seed, "source"):
            factory = import_callable(self.factory, where=where, error=ConfigError)
            try:
                dataset = factory(**self.options)
            except SafeCompressError:
                raise
            except Exception as error:
                raise DataError(
                    f"{where}: called with {self.options} it raised {type(error).__name__}: {error}"
                ) from error
            if isinstance(dataset, tuple) and len(dataset) == 2:
                return raw_from_dataset(dataset[0], test=dataset[1], where=where)
            return raw_from_dataset(dataset, where=where)


SOURCES.add(
    "torch",
    TorchRows,
    summary="a function of yours that returns a torch Dataset, or a train and a test part",
)


def raw_from_dataset(dataset: Any, *, test: Any = None, where: str = "dataset") -> RawData:
    """Read every row of a map-style dataset, and of a separate test part.

    Args:
        dataset: items are (input, label), indexed from 0.
        test: another such dataset with the test part; None without one.
        where: the dataset's name in messages.

    Raises:
        DataError: on another kind of dataset, rows of different shapes, or random rows.
    """
    x, y = _arrays(dataset, where=where)
    if test is None:
        return raw_from_arrays(x, y, where=where)
    return raw_from_arrays(x, y, test=_arrays(test, where=f"{where} (test part)"), where=where)


def _arrays(dataset: Any, *, where: str) -> tuple[Array, Any]:
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return one_array(dataset.tensors[0], where=where), dataset.tensors[1]
    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if isinstance(dataset, IterableDataset | dict | str) or not sized:
        raise DataError(
            f"{where}: got a {type(dataset).__name__}; expected a torch Dataset with a length, "
            "indexed from 0, whose items are (input, label)."
        )
    if len(dataset) == 0:
        raise DataError(f"{where}: the dataset is empty.")
    start, _ = _item(dataset, 0, where)
    again, _ = _item(dataset, 0, where)
    if not np.array_equal(start, again):
        raise DataError(
            f"{where}: reading row 0 twice gave two different inputs; remove random transforms "
            "(augmentation belongs to train.augment) so that a row is always the same row."
        )
    x = np.empty((len(dataset), *start.shape), dtype=start.dtype)
    labels = []
    for row in range(len(dataset)):
        value, label = _item(dataset, row, where)
        if value.shape != start.shape or value.dtype != start.dtype:
            raise DataError(
                f"{where}: row {row} has shape {value.shape} and type {value.dtype}, row 0 "
                f"{start.shape} and {start.dtype}; expected the same for every row."
            )
        x[row] = value
        labels.append(label)
    return x, np.asarray(labels)


def _item(dataset: Any, row: int, where: str) -> tuple[Array, Any]:
    try:
        item = dataset[row]
    except Exception as error:
        raise DataError(
            f"{where}: reading row {row} raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"{where}: row {row} is a {type(item).__name__}; expected (input, label).")
    label = item[1]
    if isinstance(label, Tensor | np.ndarray | np.generic):
        label = label.item() if len(np.shape(label)) == 0 or np.shape(label) == (1,) else None
    if not isinstance(label, bool | int | float | str):
        raise DataError(
            f"{where}: row {row} has a label of type {type(item[1]).__name__}; expected one class "
            "index or name."
        )
    return one_array(item[0], where=f"{where}: row {row}"), label


def one_array(value: Any, *, where: str) -> Array:
    """Return inputs as one NumPy array.

    Args:
        value: a tensor, image, list or number; bfloat16, which NumPy lacks, becomes float32.
        where: the inputs' name in messages.

    Raises:
        DataError: on several inputs, by name or as a tuple, and on what makes no array.
    """
    if isinstance(value, Mapping | tuple | str | bytes):
        parts = f" of {len(value)}" if isinstance(value, Mapping | tuple) else ""
        raise DataError(
            f"{where}: inputs are a {type(value).__name__}{parts}; expected one array of numbers. "
            "Join several inputs to one array, and let the model's forward take it apart; a text "
            "column comes from a CSV."
        )
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{where}: inputs of {type(value).__name__} cannot become one array "
            f"({str(error)[:160]}); expected numbers of the same shape in every row."
        ) from error
