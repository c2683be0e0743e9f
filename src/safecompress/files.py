"""Atomic writing of files, reading of JSON and safetensors, and digests.

A reader finds the old version of a file or the new one, never half of each, also after a crash.
Torch is imported where tensors are read or written, so that a command that writes a text need not
wait for it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from safecompress.errors import ConfigError, DataError, StorageError
from safecompress.temporary_names import temporary_beside

if TYPE_CHECKING:
    from torch import Tensor

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Run a block that writes a temporary file, which then replaces `path` durably.

    Args:
        path: the file to replace or to create; its folder must exist.

    Yields:
        A path in the same folder, which the block must write.

    Raises:
        StorageError: when the disk is full or the folder not writable; `path` is then untouched.
    """
    temporary = temporary_beside(path)
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
        # Removing the file fails on a read-only disk as well, and must not hide the first error.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Run a block that has a folder of its own on the disk of `path`, which is gone afterwards.

    Args:
        path: a file or folder that is made from what the block writes; its own folder must exist.

    Yields:
        An empty folder.

    Raises:
        StorageError: when it cannot be made.
    """
    temporary = temporary_beside(path, ending="folder")
    make_folder(temporary)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable.

    Args:
        folder: an existing folder.

    Raises:
        OSError: when the folder cannot be opened or synchronized.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error says that the disk, or the user's share of it, is full.

    Args:
        error: the error of a write.
    """
    return getattr(error, "errno", None) in _NO_SPACE or "No space left" in str(error)


def storage_error(path: Path, error: Exception) -> StorageError:
    """Return the error to raise when a file could not be written, with its remedy.

    Args:
        path: the file.
        error: the error of the write.
    """
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
    """Make a folder and its parents where they are missing.

    Args:
        path: the folder.

    Raises:
        StorageError: when it cannot be made, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def require_folder(path: Path, *, option: str) -> None:
    """Check before any work that files can be written into a folder of results.

    Args:
        path: the folder. Where it is missing it is made, with its parents, and taken away again, so
            that a request which is refused later leaves nothing behind.
        option: the option that names it, for messages.

    Raises:
        ConfigError: when a file stands in its way, or nothing can be written there.
    """
    missing = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Whether a folder is writable is known only by writing: an administrator may write where
        # its bits forbid it, and nobody may on a disk that is mounted for reading.
        probe = temporary_beside(path / "writable")
        probe.touch()
        probe.unlink()
    except OSError as error:
        there = next((p for p in (path, *path.parents) if p.exists()), path)
        if not there.is_dir():
            why = f"{there} is a file"
        elif is_full_disk(error):
            why = "the disk is full"
        else:
            why = f"nothing can be written there ({error.strerror or error})"
        raise ConfigError(
            f"{option} {path}: expected a folder that results can be written into, but {why}; "
            "name another."
        ) from error
    finally:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def require_file(path: Path, *, option: str) -> None:
    """Check before any work that a file can be written; its folder may be missing.

    Args:
        path: the file; one that exists will be replaced.
        option: the option that names it, for messages.

    Raises:
        ConfigError: when it is a folder, or nothing can be written into its folder.
    """
    if path.is_dir():
        raise ConfigError(f"{option} {path}: a folder; name a file in it.")
    require_folder(path.parent, option=option)


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically.

    Args:
        path: the file; an older version is replaced.
        data: its content.

    Raises:
        StorageError: when it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically.

    Args:
        source: an existing file.
        target: the copy; an older version is replaced.

    Raises:
        StorageError: when it cannot be copied.
    """
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically.

    Args:
        path: the file; an older version is replaced.
        text: its content.

    Raises:
        StorageError: when it cannot be written.
    """
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically.

    Args:
        path: the file; an older version is replaced.
        value: anything that JSON can express.

    Raises:
        StorageError: when it cannot be written.
        ValueError: when a number is NaN or infinite, which JSON cannot express.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, *, encodable: bool = False) -> Any:
    """Return what a JSON file holds.

    Args:
        path: the file.
        encodable: as `parsed_json` takes it.

    Raises:
        DataError: when the file is missing or not JSON.
    """
    try:
        return parsed_json(path.read_text(encoding="utf-8"), encodable=encodable)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}).") from error


def parsed_json(text: str | bytes, *, encodable: bool = False) -> Any:
    """Return the value of a JSON text that somebody else wrote.

    Args:
        text: the text, or its bytes in UTF-8.
        encodable: whether half of a surrogate pair is refused, which an escape can name and no
            encoding can write. Documents of ours name files by it that are no UTF-8; rows and
            settings cannot be used with it.

    Raises:
        ValueError: when it is not JSON, or is nested too deeply, or holds what was refused.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    escape = b"\\ud" if isinstance(text, bytes) else "\\ud"
    if encodable and escape in text.lower():  # type: ignore[operator]
        json.dumps(value, ensure_ascii=False).encode()
    return value


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, atomically.

    Args:
        path: the file; an older version is replaced.
        tensors: tensors by name; each is written in full, also where several share storage.
        metadata: texts by name, kept beside the tensors.

    Raises:
        StorageError: when it cannot be written.
    """
    from safecompress.tensor_stream import write_stream

    with replacing(path) as temporary, temporary.open("wb") as handle:
        write_stream(handle, tensors, metadata)


@contextmanager
def reading_safetensors(path: Path) -> Iterator[None]:
    """Run a block that reads a safetensors file, and turn its errors into one.

    Args:
        path: the file.

    Raises:
        DataError: when the file is missing, truncated or not safetensors.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({error}).") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, on the CPU.

    Args:
        path: the file.

    Raises:
        DataError: when the file is missing, truncated or not safetensors.
    """
    from safetensors.torch import load_file

    with reading_safetensors(path):
        return load_file(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts that a safetensors file keeps beside its tensors; empty without any.

    Args:
        path: the file.

    Raises:
        DataError: when the file is missing, truncated or not safetensors.
    """
    with reading_safetensors(path), safe_open(path, framework="pt") as handle:
        return dict(handle.metadata() or {})


def sha256(path: Path, *, length: int | None = None) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Args:
        path: an existing file.
        length: bytes from its beginning to hash; by default all.
    """
    digest = hashlib.sha256()
    left = path.stat().st_size if length is None else length
    with path.open("rb") as handle:
        while block := handle.read(min(left, 1 << 20)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors' names, dtypes, shapes and bytes, as 64 hexadecimal digits.

    It does not depend on the order of the names, and not on devices or memory formats.

    Args:
        tensors: tensors by name.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        digest.update(t.flatten().view(torch.uint8).numpy().data if t.numel() else b"")
    return digest.hexdigest()
