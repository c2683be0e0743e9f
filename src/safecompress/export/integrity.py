"""The signature of an exported ONNX file: SHA-256 of every byte before it, checked before use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safecompress.errors import ModelError
from safecompress.targets.onnx_guard import STANDARD, checked_graph

ENTRY = "safecompress"
SCHEMA_VERSION = 1


def signed(graph: Any, facts: Mapping[str, Any]) -> bytes:
    """Return a graph as the bytes of a file that says what it is and what it must hash to.

    A protobuf may be written in parts, one after the other: the last part is one entry of
    `metadata_props`, JSON, and holds the SHA-256 of the parts before it and of itself without it.

    Args:
        graph: an `onnx.ModelProto` without such an entry.
        facts: JSON values.
    """
    body = graph.SerializeToString(deterministic=True)
    document = {"schema_version": SCHEMA_VERSION, **facts}
    text = json.dumps(document | {"sha256": document_digest(body, document)}, sort_keys=True)
    return bytes(body + _tail(text))


def verified(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return an exported file's `ModelProto` and the facts it was written with.

    Raises:
        ModelError: when it is no ONNX file of ours, was changed since it was written, or uses
            anything but standard operators and weights of its own.
    """
    model, beside = checked_graph(path, domains=STANDARD)
    if beside:
        raise ModelError(f"{path}: wants weights from {beside[0].name}; ours are inside the file.")
    entries = [entry.value for entry in model.metadata_props if entry.key == ENTRY]
    if len(entries) != 1:
        raise ModelError(f"{path}: was not exported by SafeCompress, or lost its signature.")
    data = path.read_bytes()
    try:
        tail = _tail(entries[0])
        document = json.loads(entries[0])
        recorded, version = document.pop("sha256"), document["schema_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: its signature is damaged ({error!r}).") from error
    if not data.endswith(tail) or recorded != document_digest(data.removesuffix(tail), document):
        raise ModelError(
            f"{path}: changed since it was exported (its SHA-256 is not the recorded one); put it "
            "back from a copy, or export it again."
        )
    if version != SCHEMA_VERSION:
        raise ModelError(f"{path}: schema version {version!r}; expected {SCHEMA_VERSION}.")
    return model, document


def _tail(text: str) -> bytes:
    import onnx

    last = onnx.ModelProto()
    entry = last.metadata_props.add()
    entry.key, entry.value = ENTRY, text
    return bytes(last.SerializeToString(deterministic=True))


def document_digest(body: bytes, document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a file's contents and of what it says of itself."""
    found = hashlib.sha256(body)
    found.update(json.dumps(document, sort_keys=True).encode())
    return found.hexdigest()
