"""`signed`, `verified`: ONNX files that end with a SHA-256 of all bytes before it."""

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
    """Return a graph as the bytes of a file that holds facts and its own SHA-256.

    Concatenated protobuf messages are read as one message, so the file is the graph followed by a
    message with a single entry of `metadata_props`. Its value is JSON: the facts, and a SHA-256
    over the graph and the JSON's other entries.

    Args:
        graph: an `onnx.ModelProto` that is not signed yet.
        facts: JSON values by name, which `verified` returns.
    """
    body = graph.SerializeToString(deterministic=True)
    document = {"schema_version": SCHEMA_VERSION, **facts}
    text = json.dumps(document | {"sha256": document_digest(body, document)}, sort_keys=True)
    return bytes(body + _tail(text))


def verified(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return an exported file's `ModelProto` and the facts it was written with.

    Args:
        path: a file that `signed` made.

    Raises:
        ModelError: when SafeCompress did not write the file, it was changed since, or it uses
            custom operators or weights outside the file.
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
    """Return the SHA-256, in hexadecimal, of a file's contents and facts.

    Args:
        body: the graph or program as bytes.
        document: the facts, without the entry that holds the digest.
    """
    digest = hashlib.sha256(body)
    digest.update(json.dumps(document, sort_keys=True).encode())
    return digest.hexdigest()
