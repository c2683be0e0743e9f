"""`is_mapped`, `taken`, `chunks`, `ScratchFile`: rows that are read from disk as they are needed.

A memory-mapped array is addressed like any other, and the system reads a page of the file when it
is looked at. What is made of such rows goes to a scratch file, which has no name once it is mapped:
the system removes it when the process ends, however it ends.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.errors import StorageError

Array = NDArray[Any]

_CHUNK_BYTES = 8 << 20


def is_mapped(values: Any) -> bool:
    """Return whether an array or tensor is a view of a mapped file.

    Args:
        values: a NumPy array or a tensor; anything else is not.
    """
    if isinstance(values, Tensor):
        return values.device.type == "cpu" and values.untyped_storage().filename is not None
    return _mapping(values) is not None


def _mapping(array: Any) -> mmap.mmap | None:
    """Return the mapping that an array is a view of."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return array if isinstance(array, mmap.mmap) else None


def taken(x: Array, rows: Array | slice) -> Array:
    """Return some rows; those of a mapped file are copied, and its pages given back to the system.

    Without that, a pass over a file would leave all of it in the process's resident memory.

    Args:
        x: (n, ...).
        rows: positions of the rows, or a slice.
    """
    mapping = _mapping(x)
    if mapping is None:
        return x[rows]
    block = np.array(x[rows])
    # Of a private mapping that can be written, this would undo what its owner wrote.
    if not x.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
    return block


def chunks(n: int, *, row_bytes: int) -> Iterator[slice]:
    """Yield slices of `n` rows that take at most 8 MiB each, or one row.

    Args:
        n: number of rows.
        row_bytes: memory of one row, in bytes.
    """
    size = max(1, _CHUNK_BYTES // max(row_bytes, 1))
    for begin in range(0, n, size):
        yield slice(begin, min(begin + size, n))


class ScratchFile:
    """Rows that are written one block after the other and then mapped.

    Used as a context, which removes the file's name at its end.

    Args:
        rows: number of rows.
        shape: shape of one row.
        dtype: type of the numbers.
        folder: where the file is; None for the system's folder of temporary files.

    Raises:
        StorageError: when the folder cannot be written or has too little room.
    """

    def __init__(
        self, rows: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, folder: Path | None = None
    ) -> None:
        self._shape, self._dtype = (rows, *shape), dtype
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        wanted = int(np.prod(self._shape, dtype=object)) * dtype.itemsize
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
            if free < wanted:
                raise StorageError(
                    f"{self._folder}: the encoded rows take {wanted / 2**30:.2f} GiB, and "
                    f"{free / 2**30:.2f} GiB are free. {_REMEDY}"
                )
            handle, name = tempfile.mkstemp(prefix="safecompress-rows-", dir=self._folder)
        except OSError as error:
            raise StorageError(f"{self._folder}: not writable ({error}). {_REMEDY}") from error
        self._file, self._path = os.fdopen(handle, "wb"), Path(name)

    def __enter__(self) -> ScratchFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, block: Array) -> None:
        """Write the next rows.

        Args:
            block: (k, *shape) of the file's type.

        Raises:
            StorageError: when the disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(block, dtype=self._dtype).data)
        except OSError as error:
            raise StorageError(f"{self._folder}: {error}. {_REMEDY}") from error

    def tensor(self) -> Tensor:
        """Return all rows as a tensor of the mapped file, (rows, *shape)."""
        self._flush()
        numbers = int(np.prod(self._shape))
        kind = torch.from_numpy(np.empty(0, dtype=self._dtype)).dtype
        if not numbers:
            return torch.empty(self._shape, dtype=kind)
        flat = torch.from_file(str(self._path), shared=True, size=numbers, dtype=kind)
        return flat.reshape(self._shape)

    def array(self) -> Array:
        """Return all rows as an array of the mapped file, (rows, *shape)."""
        self._flush()
        return np.memmap(self._path, dtype=self._dtype, mode="r", shape=self._shape)

    def _flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise StorageError(f"{self._folder}: {error}. {_REMEDY}") from error


_REMEDY = "Name another folder with preprocessing.scratch, or make room there."
