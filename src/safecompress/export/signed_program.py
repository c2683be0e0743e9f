"""`signed_program`, `verified_program`: programs of devices, followed by their SHA-256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safecompress.errors import ModelError
from safecompress.export.integrity import SCHEMA_VERSION, document_digest

MAGIC = b"SAFECPTE"
"""Last bytes of an exported file; runtimes read the program and ignore what follows it."""
_LENGTH = 8


def signed_program(program: bytes, facts: Mapping[str, Any]) -> bytes:
    """Return a program followed by JSON, the JSON's length (8 bytes, little-endian) and `MAGIC`.

    The JSON holds a SHA-256 over the program and over its own other entries.

    Args:
        program: for ExecuTorch or LiteRT.
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
