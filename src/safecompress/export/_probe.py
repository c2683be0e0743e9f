"""A program of its own: loads one file once, asks it one batch, prints seconds and memory as JSON.

Run by its path in an isolated interpreter, so that nothing but the runtime is in its memory.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time

import numpy as np


def _resident() -> tuple[int, int]:
    """Return bytes in memory now and at most so far; 0 where the system does not say."""
    try:
        import resource
        from pathlib import Path

        unit = 1 if sys.platform == "darwin" else 1024
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        pages = Path("/proc/self/statm")
        now = int(pages.read_text().split()[1]) * resource.getpagesize() if pages.exists() else most
    except ImportError:
        return 0, 0
    else:
        return now, most


def main() -> None:
    """Load `FILE`; arguments: onnx or the reader's path, FILE, rows (.npz), threads."""
    how, file, rows, threads = sys.argv[1:]
    feed = dict(np.load(rows))
    if how == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        before, _ = _resident()
        started = time.perf_counter()
        session = onnxruntime.InferenceSession(
            file, sess_options=options, providers=["CPUExecutionProvider"]
        )
        seconds = time.perf_counter() - started
        session.run(None, feed)
    else:
        spec = importlib.util.spec_from_file_location("safecompress_reader", how)
        if spec is None or spec.loader is None:
            raise ImportError(how)
        reader = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = reader
        spec.loader.exec_module(reader)
        before, _ = _resident()
        started = time.perf_counter()
        reader.read_compact(file)
        seconds = time.perf_counter() - started
    _, most = _resident()
    sys.stdout.write(json.dumps({"seconds": seconds, "bytes": max(0, most - before)}))


if __name__ == "__main__":
    main()
