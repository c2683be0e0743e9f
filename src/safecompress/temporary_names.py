"""`temporary_beside`: names of what is being written, and the end of what dead processes left."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

_LONGEST_NAME = 200
"""Bytes of a name beside which there is room for what marks it as temporary."""


def temporary_beside(path: Path, *, ending: str = "tmp") -> Path:
    """Return a name beside a path for this process, after removing those of processes that died.

    Names hold the machine, because several may share a folder, and none knows whether a process of
    another one is alive.

    Args:
        path: the file or folder that is to be made.
        ending: of the name, so that a process can have two of them.
    """
    name = path.name if len(os.fsencode(path.name)) <= _LONGEST_NAME else _short(path.name)
    machine = _short(platform.node())
    for stray in path.parent.glob(f".{glob.escape(name)}.{machine}-*.{ending}"):
        process = stray.stem.rpartition("-")[2]
        if process.isdecimal() and not _is_alive(int(process)):
            with suppress(OSError):
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
    return path.with_name(f".{name}.{machine}-{os.getpid()}.{ending}")


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # Elsewhere there is no signal that only asks.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
