"""`NpyRows`: arrays in `.npy` files, read from disk as their rows are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from safecompress.config import NpySource
from safecompress.data.disk import Array
from safecompress.data.npz_source import DAMAGE, check_file
from safecompress.data.raw import RawData, raw_from_arrays
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import DataError, brief

_WRITTEN_BY = "numpy.save(path, array), or numpy.lib.format.open_memmap for one beyond memory"


class NpyRows(NpySource, DataSource):
    """Rows of `.npy` files that need not fit into memory."""

    source: Literal["npy"] = "npy"

    def load(self, *, seed: int | None) -> RawData:
        """Map the inputs and read the labels.

        Args:
            seed: not used, because the rows of a file are fixed.

        Raises:
            DataError: on a missing, damaged or pickled file, or unusable contents.
        """
        del seed
        x, y = mapped_npy(self.x), np.array(mapped_npy(self.y))
        if (self.test_x is None) != (self.test_y is None):
            raise DataError(
                f"{self.x}: a test part needs both test_x and test_y; got only "
                f"{'test_y' if self.test_x is None else 'test_x'}."
            )
        test = None
        if self.test_x is not None and self.test_y is not None:
            test = (mapped_npy(self.test_x), np.array(mapped_npy(self.test_y)))
        return raw_from_arrays(x, y, test=test, where=str(self.x))


SOURCES.add("npy", NpyRows, summary="arrays in .npy files, read from disk as rows are needed")


def mapped_npy(path: Path) -> Array:
    """Map an array of numbers or strings; nothing is read but its header, and never unpickled.

    Args:
        path: the file.

    Raises:
        DataError: when it is missing, damaged, pickled, or holds named fields.
    """
    check_file(path)
    try:
        # A map checks the declared size against the file instead of allocating it.
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except DAMAGE as error:
        raise DataError(
            f"{path}: not a readable .npy of numbers or strings ({brief(error)}); write it again "
            f"with {_WRITTEN_BY}. Pickled objects are never read."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.fields is not None or not array.ndim:
        raise DataError(f"{path}: expected one plain array of rows, in a .npy and not an .npz.")
    return array
