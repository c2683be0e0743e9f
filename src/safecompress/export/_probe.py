"""A script that loads one file, computes one batch and prints seconds and bytes as JSON.

`measure.loading` runs it by its path in an isolated interpreter, so that the process holds nothing
but the runtime and the measured memory is that of the file.
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
    """Return the resident bytes of this process now and its peak; 0 where they are unknown."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` starts at the peak of the parent process, so `/proc` comes first.
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
    """Import a script from its path; in an isolated interpreter the package is not importable."""
    spec = importlib.util.spec_from_file_location("loading", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Measure a file; arguments: a script with a `loader`, the file, rows (.npz), threads."""
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
