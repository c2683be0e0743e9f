"""`Ledger`: how many models were judged on sealed rows, counted across runs and processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from safecompress.errors import StorageError
from safecompress.files import parsed_json


class Ledger:
    """A JSON-lines file with one line for each look at sealed rows.

    Every look is appended under a lock and made durable before the rows are returned, so that
    neither a crash nor a second process can leave a look uncounted. A line that cannot be read, in
    a damaged file, counts as a look of an unknown model at all sealed rows, because counting too
    many looks is safer than counting too few.

    Args:
        path: the file; None counts in memory, for as long as this object exists.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._memory: list[str] = []

    def __repr__(self) -> str:
        return f"Ledger({str(self.path) if self.path else 'in memory'})"

    def look(self, sealed_digest: str, model_digest: str, *, run: str) -> int:
        """Record a look at sealed rows.

        Args:
            sealed_digest: digest of the sealed rows.
            model_digest: digest of the model that is judged on them.
            run: name of the run, for people who read the file.

        Returns:
            The number of distinct models that were judged on these rows so far, this one included.

        Raises:
            StorageError: when the ledger cannot be written; the rows must then stay sealed.
        """
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "sealed": sealed_digest,
            "model": model_digest,
            "run": run,
        }
        line = json.dumps(entry)
        if self.path is None:
            self._memory.append(line)
            return _distinct_models(self._memory, sealed_digest)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path) as handle:
                return _distinct_models(_append(handle, line), sealed_digest)
        except OSError as error:
            raise StorageError(
                f"{self.path}: the ledger of looks at sealed rows cannot be written ({error}); "
                "make it writable, because an uncounted look would make the verdict too good."
            ) from error


def _append(handle: int, line: str) -> list[str]:
    """Append a line durably and return all lines."""
    size = os.fstat(handle).st_size
    content = os.pread(handle, size, 0) if hasattr(os, "pread") else os.read(handle, size)
    # A crash may have left the last line without its end.
    line_end = b"" if not content or content.endswith(b"\n") else b"\n"
    data = line_end + line.encode() + b"\n"
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)
    return [*content.decode("utf-8", "replace").splitlines(), line]


def _distinct_models(lines: list[str], sealed_digest: str) -> int:
    models: set[str] = set()
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            entry = parsed_json(line)
            if entry["sealed"] == sealed_digest:
                models.add(f"model {entry['model']}")
        except (ValueError, KeyError, TypeError):
            models.add(f"damaged line {number}")
    return len(models)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file for appending under a lock that the system frees if the process dies."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o666)
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
