"""`checked_graph` and `operators`: checks of an ONNX file before any runtime loads it.

The file must be small enough, use known operators only, and have its weights in its own folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safecompress.errors import ConfigError, ModelError, brief

INSTALL = "pip install 'safecompress[onnx]'"
MAX_BYTES = 2 << 30
"""Largest protobuf; larger models have their weights in files beside the graph."""
STANDARD = frozenset({"", "ai.onnx"})
BUILT_IN = STANDARD | {"ai.onnx.ml", "com.microsoft"}
"""Domains of operators that stock onnxruntime has; any other needs code of its own."""
_MOST_ELEMENTS = 1 << 31
_SHAPED_BY = {"ConstantOfShape": 0, "Expand": 1}
"""Operators whose output has the shape that an input gives, and the position of that input."""


def checked_graph(path: Path, *, domains: frozenset[str] = BUILT_IN) -> tuple[Any, list[Path]]:
    """Return an ONNX file's `ModelProto`, its external weights unread, and the files they are in.

    Args:
        path: the file.
        domains: names of the domains whose operators it may use.

    Raises:
        ConfigError: when onnx is not installed.
        ModelError: when it is no ONNX file, is too large, uses operators of other domains, creates
            a tensor that would fill the memory, or has weights that are missing or outside its
            folder.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(f"{path}: onnx is not installed; {INSTALL}.") from error
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size:,} bytes; an ONNX file has at most 2 GiB.")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path}: not an ONNX file, or damaged ({brief(error)}).") from error
    if not model.HasField("graph"):
        raise ModelError(f"{path}: not an ONNX file: there is no graph in it.")
    try:
        _require_operators(model, domains, path)
        return model, _weights_beside(model, path)
    except (TypeError, ValueError, OSError) as error:
        # In a damaged file a name may be no text, or not be allowed as the name of a file.
        raise ModelError(f"{path}: damaged ({brief(error)}).") from error


def operators(model: Any) -> frozenset[str]:
    """Return the names of a graph's operators, including those in subgraphs and functions.

    Args:
        model: a `ModelProto` of onnx.
    """
    nodes = (m for m in _messages(model) if m.DESCRIPTOR.name == "NodeProto")
    return frozenset(node.op_type for node in nodes)


def _require_operators(model: Any, domains: frozenset[str], path: Path) -> None:
    """Refuse operators that need code of their own, and constants that would fill the memory."""
    local_domains = {function.domain for function in model.functions}
    messages = list(_messages(model))
    nodes = [m for m in messages if m.DESCRIPTOR.name == "NodeProto"]
    known = {m.name: m for m in messages if m.DESCRIPTOR.name == "TensorProto" and m.name}
    for node in nodes:
        given = [a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"]
        known |= dict(zip(node.output, given, strict=False))
    for node in nodes:
        if node.domain not in domains | local_domains:
            raise ModelError(
                f"{path}: uses the operator {node.domain[:60]}.{node.op_type[:60]}, which is none "
                "of stock onnxruntime; a custom operator is code, and is not run."
            )
        shape = _SHAPED_BY.get(node.op_type)
        if shape is not None and len(node.input) > shape and node.input[shape] in known:
            _require_size(known[node.input[shape]], path)


def _require_size(shape: Any, path: Path) -> None:
    from onnx import numpy_helper

    if shape.external_data:
        return
    try:
        sizes = [max(int(size), 0) for size in numpy_helper.to_array(shape).reshape(-1)]
    except Exception as error:
        raise ModelError(f"{path}: damaged ({brief(error)}).") from error
    elements = math.prod(sizes)
    if elements > _MOST_ELEMENTS:
        raise ModelError(f"{path}: makes a tensor of {elements:,} elements out of nothing.")


def _weights_beside(model: Any, path: Path) -> list[Path]:
    """Return the files that hold the graph's weights.

    Raises:
        ModelError: when one of them is missing or outside the file's folder.
    """
    folder = path.resolve().parent
    files = []
    for name in sorted(set(_external(model))):
        file = (folder / name).resolve()
        if Path(name).is_absolute() or folder not in file.parents:
            raise ModelError(
                f"{path}: wants its weights from '{name[:100]}', outside its own folder; refused. "
                "Save the model again with its weights beside it."
            )
        if not file.is_file():
            raise ModelError(f"{path}: its weights '{name[:100]}' are not beside it.")
        files.append(file)
    return files


def _external(model: Any) -> Iterator[str]:
    """Yield the name of every external file, including those of subgraphs and functions."""
    for message in _messages(model):
        if message.DESCRIPTOR.name == "TensorProto":
            yield from (entry.value for entry in message.external_data if entry.key == "location")


def _messages(message: Any) -> Iterator[Any]:
    """Yield a protobuf message and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        # A single message has a DESCRIPTOR; a repeated field is a container of messages.
        for part in [value] if hasattr(value, "DESCRIPTOR") else value:
            yield from _messages(part)
