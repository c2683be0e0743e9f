"""`loader` of `.pte` programs: ExecuTorch's runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def loader(threads: int) -> Callable[[str], Callable[[Any], Any]]:
    """Return a function that loads a `.pte` program and returns a function that computes a batch.

    Args:
        threads: of the runtime inside one operator, at least 1.
    """
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)

    def load(path: str) -> Callable[[Any], Any]:
        program = Runtime.get().load_program(path)
        # The method reads from its program, so the closure keeps both alive.
        loaded = program, program.load_method("forward")

        def ask(feed: Any) -> Any:
            _, method = loaded
            rows = method.metadata.input_tensor_meta(0).sizes()[0]
            return method.execute([torch.from_numpy(array[:rows]) for array in feed.values()])

        return ask

    return load
