"""Files that are either the old version or the new one, never half of each."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from safecompress.errors import DataError, StorageError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success make it durable and put it in place.

    Raises:
        StorageError: when the disk is full or the folder not writable; `path` is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except (OSError, SafetensorError) as error:
            raise storage_error(path, error) from error
    finally:
        # On a read-only disk even this fails, and must not hide why the write did.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that the disk, or the user's share of it, is full."""
    return getattr(error, "errno", None) in _NO_SPACE or "No space left" in str(error)


def storage_error(path: Path, error: Exception) -> StorageError:
    """Return what to tell the user when `path` could not be written."""
    if is_full_disk(error):
        return StorageError(
            f"{path}: the disk is full. Earlier work is intact: free some space and resume."
        )
    if not path.parent.is_dir():
        return StorageError(
            f"{path}: its folder is gone, so nothing can be kept. Put it back and resume, or start "
            "again with another --out."
        )
    if getattr(error, "errno", None) in _NO_PERMISSION or "Permission denied" in str(error):
        return StorageError(
            f"{path}: not writable ({error}). Make it writable, or choose another folder with "
            "--out."
        )
    return StorageError(f"{path}: could not be written ({error}). Earlier work is intact.")


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        StorageError: when it cannot be made, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, atomically."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, so every reader can read it."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: when the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}).") from error


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, atomically; shared storage is written once per name."""
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    # Serialized here, because save_file would create the file readable by its owner alone.
    write_bytes(path, save(plain, metadata=dict(metadata) if metadata else None))


@contextmanager
def reading_safetensors(path: Path) -> Iterator[None]:
    """Raise DataError where a file that is read inside is missing, truncated or not safetensors."""
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({error}).") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors.

    Raises:
        DataError: when the file is missing, truncated or not safetensors.
    """
    with reading_safetensors(path):
        return load_file(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Read what a safetensors file says besides its tensors.

    Raises:
        DataError: when the file is missing, truncated or not safetensors.
    """
    with reading_safetensors(path), safe_open(path, framework="pt") as handle:
        return dict(handle.metadata() or {})


def sha256(path: Path, *, length: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `length` bytes, as hex."""
    digest = hashlib.sha256()
    left = path.stat().st_size if length is None else length
    with path.open("rb") as handle:
        while block := handle.read(min(left, 1 << 20)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors' names, types, shapes and bytes, independent of file layout."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        digest.update(t.flatten().view(torch.uint8).numpy().tobytes() if t.numel() else b"")
    return digest.hexdigest()
