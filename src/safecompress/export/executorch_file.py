"""`signed_program`, `verified_program`, `ExecutorchModel`: `.pte` files with their SHA-256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from safecompress.errors import ModelError
from safecompress.export.executorch_program import load_method, most_rows
from safecompress.export.integrity import SCHEMA_VERSION, document_digest

MAGIC = b"SAFECPTE"
"""Last bytes of an exported file; ExecuTorch reads the program and ignores what follows it."""
_LENGTH = 8


def signed_program(program: bytes, facts: Mapping[str, Any]) -> bytes:
    """Return a program followed by JSON, the JSON's length (8 bytes, little-endian) and `MAGIC`.

    The JSON holds a SHA-256 over the program and over its own other entries.

    Args:
        program: an ExecuTorch program.
        facts: JSON values by name, which `verified_program` returns.
    """
    document = {"schema_version": SCHEMA_VERSION, **facts}
    document |= {"sha256": document_digest(program, document)}
    text = json.dumps(document, sort_keys=True).encode()
    return program + text + len(text).to_bytes(_LENGTH, "little") + MAGIC


def verified_program(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return a file's program and the facts it was written with.

    Args:
        path: a file that `signed_program` made.

    Raises:
        ModelError: when SafeCompress did not write the file, or it was cut short or changed since.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    data = path.read_bytes()
    end = len(data) - len(MAGIC) - _LENGTH
    if end < 0 or not data.endswith(MAGIC):
        raise ModelError(f"{path}: was not exported by SafeCompress, or lost its end.")
    start = end - int.from_bytes(data[end : end + _LENGTH], "little")
    try:
        if start < 0:
            raise ValueError("longer than the file")
        program, document = data[:start], json.loads(data[start:end])
        recorded, version = document.pop("sha256"), document["schema_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: its signature is damaged ({error!r}).") from error
    whole = data[start:end] == json.dumps(document | {"sha256": recorded}, sort_keys=True).encode()
    if not whole or recorded != document_digest(program, document):
        raise ModelError(
            f"{path}: changed since it was exported (its SHA-256 is not the recorded one); put it "
            "back from a copy, or export it again."
        )
    if version != SCHEMA_VERSION:
        raise ModelError(f"{path}: schema version {version!r}; expected {SCHEMA_VERSION}.")
    return program, document


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
