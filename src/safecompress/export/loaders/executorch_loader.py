"""How ExecuTorch's runtime loads a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def loader(threads: int) -> Callable[[str], Callable[[Any], Any]]:
    """Return what loads a file.

    Args:
        threads: inside an operator.
    """
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)

    def load(path: str) -> Callable[[Any], Any]:
        program = Runtime.get().load_program(path)
        # The method needs its program to stay in memory.
        held = program, program.load_method("forward")

        def ask(feed: Any) -> Any:
            _, method = held
            rows = method.metadata.input_tensor_meta(0).sizes()[0]
            return method.execute([torch.from_numpy(array[:rows]) for array in feed.values()])

        return ask

    return load
