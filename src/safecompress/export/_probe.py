"""A program of its own: loads one file once, asks it one batch, prints seconds and memory as JSON.

Run by its path in an isolated interpreter, so that nothing but the runtime is in its memory.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

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


def main() -> None:
    """Load FILE; arguments: onnx, executorch or the reader's path, FILE, rows (.npz), threads."""
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
    elif how == "executorch":
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(int(threads))
        inputs = [torch.from_numpy(array) for array in feed.values()]
        before, _ = _resident()
        started = time.perf_counter()
        program = Runtime.get().load_program(file)
        method = program.load_method("forward")
        seconds = time.perf_counter() - started
        rows = method.metadata.input_tensor_meta(0).sizes()[0]
        method.execute([array[:rows] for array in inputs])
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
