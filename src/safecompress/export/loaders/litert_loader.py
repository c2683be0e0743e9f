"""`loader` of `.tflite` programs: LiteRT's interpreter on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def loader(threads: int) -> Callable[[str], Callable[[Any], Any]]:
    """Return a function that loads a `.tflite` and returns a function that computes a batch.

    Args:
        threads: of the runtime inside one operator, at least 1.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    def load(path: str) -> Callable[[Any], Any]:
        model = Interpreter(model_path=path, num_threads=threads)
        model.allocate_tensors()
        given, (made,) = model.get_input_details(), model.get_output_details()

        def ask(feed: Any) -> Any:
            arrays, answers = list(feed.values()), []
            for row in range(len(arrays[0])):
                for detail, array in zip(given, arrays, strict=True):
                    model.set_tensor(detail["index"], array[row : row + 1].astype(detail["dtype"]))
                model.invoke()
                answers.append(model.get_tensor(made["index"]))
            return np.concatenate(answers)

        return ask

    return load
