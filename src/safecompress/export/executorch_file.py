"""An exported `.pte` file: a program, what it is, and the SHA-256 that it must have."""

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
"""The last bytes of a file of ours; a runtime reads no further than the program before them."""
_LENGTH = 8


def signed_program(program: bytes, facts: Mapping[str, Any]) -> bytes:
    """Return a program followed by JSON, the JSON's length (8 bytes, little-endian) and `MAGIC`.

    The JSON holds the SHA-256 of the program and of itself without it.

    Args:
        program: of ExecuTorch.
        facts: JSON values.
    """
    document = {"schema_version": SCHEMA_VERSION, **facts}
    document |= {"sha256": document_digest(program, document)}
    text = json.dumps(document, sort_keys=True).encode()
    return program + text + len(text).to_bytes(_LENGTH, "little") + MAGIC


def verified_program(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return a file's program and the facts it was written with.

    Raises:
        ModelError: when it is not ours, was cut short, or was changed since it was written.
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
    """A program as a callable: inputs in, logits out, in batches as large as it takes.

    Args:
        path: an exported file.

    Raises:
        ConfigError: when executorch is not installed.
        ModelError: when the file is not as it was exported, or its runtime does not load it.
    """

    def __init__(self, path: Path) -> None:
        program, facts = verified_program(path)
        self._path, self._names = path, facts["inputs"]
        # The runtime reads from these bytes for as long as the method lives.
        self._program = program
        self._method = load_method(program, str(path))
        self._rows = most_rows(self._method)

    def __call__(self, *inputs: Tensor, **named: Tensor) -> NDArray[np.float32]:
        """Return (n, classes) for n rows."""
        given = inputs or tuple(named[name] for name in self._names)
        said = [
            self._ask([t[start : start + self._rows].contiguous() for t in given])
            for start in range(0, len(given[0]), self._rows)
        ]
        return np.concatenate(said)

    def _ask(self, rows: list[Tensor]) -> NDArray[np.float32]:
        try:
            (said,) = self._method.execute(rows)
        except RuntimeError as error:
            raise ModelError(f"{self._path}: the program failed on its inputs: {error}") from error
        # A copy: the next call writes where this one's answers lie.
        return np.array(said.numpy(), np.float32)

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return (n, classes) for a batch of arrays in the order of the program's inputs.

        Args:
            feed: arrays (n, ...).
        """
        return self(*(_tensor(array) for array in feed.values()))


def _tensor(array: NDArray[Any]) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))
