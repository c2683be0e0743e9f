"""`loader` of compact files: `safecompress_reader`, without this library and without torch."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_READER = Path(__file__).parents[3] / "safecompress_reader.py"


def loader(threads: int) -> Callable[[str], None]:
    """Return a function that reads the file at a path; no runtime computes with it.

    Args:
        threads: ignored, because the reader has one thread.
    """
    del threads
    spec = importlib.util.spec_from_file_location("safecompress_reader", _READER)
    if spec is None or spec.loader is None:
        raise ImportError(str(_READER))
    reader: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = reader
    spec.loader.exec_module(reader)

    def load(path: str) -> None:
        reader.read_compact(path)

    return load
