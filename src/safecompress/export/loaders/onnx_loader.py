"""`loader` of ONNX files: stock onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def loader(threads: int) -> Callable[[str], Callable[[Any], Any]]:
    """Return a function that loads an ONNX file and returns a function that computes a batch.

    Args:
        threads: of the runtime inside one operator, at least 1.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def load(path: str) -> Callable[[Any], Any]:
        session = onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
        return lambda feed: session.run(None, feed)

    return load
