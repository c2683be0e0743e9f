"""`loader` of OpenVINO IR: OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def loader(threads: int) -> Callable[[str], Callable[[Any], Any]]:
    """Return a function that loads an `.xml` and returns a function that computes a batch.

    Args:
        threads: of the runtime inside one operator, at least 1.
    """
    import openvino

    core = openvino.Core()
    exact = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}

    def load(path: str) -> Callable[[Any], Any]:
        model = core.compile_model(core.read_model(path), "CPU", exact)
        return lambda feed: model(dict(feed))[0]

    return load
