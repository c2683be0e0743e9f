"""`ExecutorchModel`: a `.pte` file as a callable from inputs to logits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from safecompress.errors import ModelError
from safecompress.export.executorch_program import load_method, most_rows
from safecompress.export.signed_program import verified_program


class ExecutorchModel:
    """An ExecuTorch program as a callable from inputs to logits, for any number of rows.

    Rows are computed in batches of at most the size that the program's memory was planned for.

    Args:
        path: an exported file.

    Raises:
        ConfigError: when executorch is not installed.
        ModelError: when the file was changed since its export, or the runtime does not load it.
    """

    def __init__(self, path: Path) -> None:
        program, facts = verified_program(path)
        self._path, self._names = path, facts["inputs"]
        # The runtime does not copy the bytes: they must live as long as the method.
        self._program = program
        self._method = load_method(program, str(path))
        self._rows = most_rows(self._method)

    def __call__(self, *inputs: Tensor, **named: Tensor) -> NDArray[np.float32]:
        """Return logits, float32 (n, classes).

        Args:
            *inputs: tensors (n, ...) in the order of the program's inputs.
            **named: the same by name, where `inputs` is empty.

        Raises:
            ModelError: when the program fails on these inputs.
        """
        given = inputs or tuple(named[name] for name in self._names)
        outputs = [
            self._ask([t[start : start + self._rows].contiguous() for t in given])
            for start in range(0, len(given[0]), self._rows)
        ]
        return np.concatenate(outputs)

    def _ask(self, rows: list[Tensor]) -> NDArray[np.float32]:
        # Rows of a model in fp64 are rounded to the precision of its program.
        rows = [t.float() if t.is_floating_point() else t for t in rows]
        try:
            (outputs,) = self._method.execute(rows)
        except RuntimeError as error:
            raise ModelError(f"{self._path}: the program failed on its inputs: {error}") from error
        # Copy, because the next call overwrites the output buffer of the method.
        return np.array(outputs.numpy(), np.float32)

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return logits, float32 (n, classes), of a batch of arrays.

        Args:
            feed: arrays (n, ...), in the order of the program's inputs.
        """
        return self(*(_tensor(array) for array in feed.values()))


def _tensor(array: NDArray[Any]) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))
