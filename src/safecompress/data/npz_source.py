"""`NpzRows` and `read_npz`: arrays from an `.npz`, without unpickling.

A damaged or hostile file ends in a readable message, and not in a crash or a full memory.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.lib import format as npy

from safecompress.config import NpzSource
from safecompress.data.raw import Array, RawData, raw_from_arrays
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import DataError, did_you_mean

MAX_ARRAY_BYTES = 16 << 30
"""Largest sum of arrays read from one file; a header that declares more is refused before any
memory is allocated."""
_MAX_RATIO = 1040
"""Largest compression ratio. Deflate reaches 1032, so a larger one means a forged entry."""
DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    ValueError,
    KeyError,
    OSError,
    RuntimeError,
    SyntaxError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
"""What NumPy and the standard library raise on damaged or hostile files of arrays."""


class NpzRows(NpzSource, DataSource):
    """Rows of arrays in an `.npz`."""

    source: Literal["npz"] = "npz"

    def load(self, *, seed: int | None) -> RawData:
        """Read the arrays that the options name.

        Args:
            seed: not used, because the rows of a file are fixed.

        Raises:
            DataError: on a missing, damaged or pickled file, a missing array, or unusable contents.
        """
        del seed
        if self.test_path is not None:
            names = {"x": self.test_x or self.x, "y": self.test_y or self.y}
            train = read_npz(self.path, {"x": self.x, "y": self.y})
            other = read_npz(self.test_path, names)
            pair = (other["x"], other["y"])
            return raw_from_arrays(train["x"], train["y"], test=pair, where=str(self.path))
        keys = {"x": self.x, "y": self.y}
        if (self.test_x is None) != (self.test_y is None):
            raise DataError(
                f"{self.path}: a test part needs both test_x and test_y; got only "
                f"{'test_y' if self.test_x is None else 'test_x'}."
            )
        if self.test_x is not None and self.test_y is not None:
            keys |= {"test_x": self.test_x, "test_y": self.test_y}
        arrays = read_npz(self.path, keys)
        test = (arrays["test_x"], arrays["test_y"]) if "test_x" in arrays else None
        return raw_from_arrays(arrays["x"], arrays["y"], test=test, where=str(self.path))


SOURCES.add("npz", NpzRows, summary="arrays in an .npz, with or without a test pair")


_WRITTEN_BY = "numpy.savez_compressed(path, x=..., y=...)"


def list_npz(path: Path, *, written_by: str = _WRITTEN_BY) -> list[str]:
    """Return the names of the arrays in an `.npz`.

    Args:
        path: the file.
        written_by: the call that writes such a file, for the message on a damaged one.

    Raises:
        DataError: on a missing or damaged file.
    """
    check_file(path)
    with _opened(path, written_by) as archive:
        return _names(archive)


def read_npz(
    path: Path,
    keys: dict[str, str],
    *,
    most: int = MAX_ARRAY_BYTES,
    kept_as: str = "numbers or strings",
) -> dict[str, Array]:
    """Read arrays from an `.npz` without ever unpickling.

    Args:
        path: the file.
        keys: the array's name in the file by its role, for example `x` or `y`.
        most: largest size in bytes of all arrays together.
        kept_as: what pickled objects should be saved as instead, for the message on them.

    Returns:
        The arrays by role.

    Raises:
        DataError: when an array is missing, damaged or too large; the message names file and array.
    """
    check_file(path)
    with _opened(path) as archive:
        present = _names(archive)
        for role, key in keys.items():
            if key not in present:
                reason = "" if role == key else f" (asked for by {role})"
                raise DataError(
                    f"{path}: no array '{key}'{reason}; the file holds: "
                    f"{', '.join(present[:20]) or 'nothing'}{_hint(key, present)}"
                )
        arrays: dict[str, Array] = {}
        for role, key in keys.items():
            left = most - sum(array.nbytes for array in arrays.values())
            arrays[role] = _read_member(archive, key, path, most=left, kept_as=kept_as)
        return arrays


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist()]


@contextmanager
def _opened(path: Path, written_by: str = _WRITTEN_BY) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    except DAMAGE as error:
        raise DataError(
            f"{path}: not an .npz, or cut short ({error}); write it again with {written_by}."
        ) from error
    with archive:
        yield archive


def check_file(path: Path) -> None:
    """Check that a path is a file.

    Args:
        path: the path.

    Raises:
        DataError: when it does not exist or is a directory.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a directory; expected a file.")
    if not path.exists():
        raise DataError(f"{path}: no such file.")


def _hint(key: str, present: list[str]) -> str:
    hint = did_you_mean(key, present)
    return hint if hint.startswith("; did") else "; name the array to read in the configuration."


def _read_member(
    archive: zipfile.ZipFile, key: str, path: Path, *, most: int, kept_as: str
) -> Array:
    name = key if key in archive.namelist() else f"{key}.npy"
    where = f"{path}: array '{key}'"
    info = archive.getinfo(name)
    try:
        with archive.open(info) as handle:
            shape, dtype = _read_header(handle, where, kept_as)
            declared = dtype.itemsize * int(np.prod(shape, dtype=object))
            expected = handle.tell() + declared
    except DAMAGE as error:
        raise DataError(f"{where} is damaged ({_brief(error)}).") from error
    if declared > most:
        raise DataError(
            f"{where} declares shape {shape} of {dtype}, {declared / 2**30:,.1f} GiB; more than "
            f"the {most / 2**30:,.1f} GiB that may still be read from this file."
        )
    if info.file_size != expected or info.file_size > _MAX_RATIO * info.compress_size + 1024:
        raise DataError(
            f"{where} declares shape {shape} of {dtype}, but the file does not hold that many "
            "bytes; it is damaged."
        )
    try:
        with archive.open(info) as handle:
            return np.asarray(npy.read_array(handle, allow_pickle=False))
    except DAMAGE as error:
        raise DataError(f"{where} is damaged ({_brief(error)}).") from error
    except MemoryError as error:
        raise DataError(f"{where} needs {declared / 2**30:,.1f} GiB of memory.") from error


def _brief(error: BaseException) -> str:
    """Return the first line of an error's message; NumPy quotes the file's contents after it."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:160]


def _read_header(
    handle: IO[bytes], where: str, kept_as: str
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy.read_magic(handle)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(handle)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(handle)
    else:
        raise DataError(f"{where} has npy version {version}; expected plain numbers or strings.")
    if dtype.hasobject:
        raise DataError(
            f"{where} holds pickled Python objects, which are never read because they can run "
            f"code; save it again as {kept_as}: numpy.asarray(values, dtype=...)."
        )
    if dtype.fields is not None:
        raise DataError(f"{where} has named fields {dtype.names}; expected one plain array.")
    return shape, dtype
