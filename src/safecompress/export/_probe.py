"""A program of its own: loads one file once, asks it one batch, prints seconds and memory as JSON.

Run by its path in an isolated interpreter, so that nothing but the runtime is in its memory.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_COUNTS = "VmRSS:", "VmHWM:"


def _resident() -> tuple[int, int]:
    """Return bytes in memory now and at most so far; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():
        # The system's other count of the most, `ru_maxrss`, begins with the parent's.
        lines = (line.split() for line in status.read_text().splitlines())
        kilobytes = {words[0]: int(words[1]) for words in lines if words and words[0] in _COUNTS}
        now, most = (1024 * kilobytes.get(name, 0) for name in _COUNTS)
        return now, most
    try:
        import resource
    except ImportError:
        return 0, 0
    unit = 1 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return most, most


def _module(path: str) -> Any:
    """Return a script as a module, found by its path alone."""
    spec = importlib.util.spec_from_file_location("loading", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Load FILE; arguments: a script with a `loader`, FILE, rows (.npz), threads."""
    script, file, rows, threads = sys.argv[1:]
    feed = dict(np.load(rows))
    load = _module(script).loader(int(threads))
    before, _ = _resident()
    started = time.perf_counter()
    ask = load(file)
    seconds = time.perf_counter() - started
    if ask is not None:
        ask(feed)
    _, most = _resident()
    sys.stdout.write(json.dumps({"seconds": seconds, "bytes": max(0, most - before)}))


if __name__ == "__main__":
    main()
