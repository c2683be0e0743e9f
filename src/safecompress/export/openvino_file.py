"""`intermediate`, `parts_of`, `verified_ir`: a graph of ONNX as OpenVINO's `.xml` and `.bin`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from safecompress.errors import ConfigError, ModelError
from safecompress.export.graph import quiet, reason_of
from safecompress.export.integrity import SCHEMA_VERSION, document_digest

INSTALL = "pip install 'safecompress[openvino]'"
_BEGIN, _END = b"\n<!-- safecompress ", b" -->\n"
"""Around the facts: a comment after the graph, which OpenVINO does not read."""
_MOST_ROWS = 1 << 40
"""More rows than a call has. A slice up to the largest number OpenVINO takes away."""


def intermediate(graph: Any, facts: Mapping[str, Any]) -> bytes:
    """Return a graph as the bytes of an `.xml`, which holds the facts, followed by its weights.

    OpenVINO's own reader of ONNX converts the graph. `openvino.convert_model` would do the same and
    report to its makers over the network that it did.

    Args:
        graph: an `onnx.ModelProto`.
        facts: JSON values by name, which `verified_ir` returns.

    Raises:
        ConfigError: when openvino is not installed.
        ModelError: when OpenVINO does not read the graph.
    """
    try:
        import openvino
    except ImportError as error:
        raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            model = openvino.Core().read_model(graph.SerializeToString(deterministic=True))
            _mend_(model)
            _name_(model)
            path = Path(folder) / "model.xml"
            openvino.save_model(model, path, compress_to_fp16=False)
            xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    except RuntimeError as error:
        raise ModelError(
            f"export: OpenVINO does not read the model ({_reason(error)}); choose onnx."
        ) from error
    xml = xml.rstrip()
    document = {"schema_version": SCHEMA_VERSION, **facts}
    document |= {"sha256": document_digest(xml + weights, document)}
    return xml + _BEGIN + _comment(document) + _END + weights


def _comment(document: Mapping[str, Any]) -> bytes:
    """Return JSON without two hyphens in a row, which would end a comment; numbers have none."""
    return json.dumps(document, sort_keys=True).replace("--", "-\\u002d").encode()


def parts_of(content: bytes) -> tuple[bytes, bytes]:
    """Return the `.xml` and the `.bin` in what `intermediate` returned.

    Args:
        content: bytes from `intermediate`.
    """
    end = content.index(_END, content.index(_BEGIN)) + len(_END)
    return content[:end], content[end:]


def verified_ir(path: Path) -> dict[str, Any]:
    """Return the facts that an IR was written with.

    Args:
        path: the `.xml`; the `.bin` is beside it.

    Raises:
        ModelError: when SafeCompress did not write the files, or they were changed since.
    """
    weights = path.with_suffix(".bin")
    for file in (path, weights):
        if not file.is_file():
            raise ModelError(f"{file}: no such file.")
    xml, begin, rest = path.read_bytes().rpartition(_BEGIN)
    if not begin or not rest.endswith(_END):
        raise ModelError(f"{path}: was not exported by SafeCompress, or lost its end.")
    try:
        document = json.loads(rest.removesuffix(_END))
        written = _comment(document)
        recorded, version = document.pop("sha256"), document["schema_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: its signature is damaged ({error!r}).") from error
    digest = document_digest(xml + weights.read_bytes(), document)
    if rest != written + _END or recorded != digest:
        raise ModelError(
            f"{path}: changed since it was exported, or {weights.name} was (the SHA-256 is not the "
            "recorded one); put both back from a copy, or export them again."
        )
    if version != SCHEMA_VERSION:
        raise ModelError(f"{path}: schema version {version!r}; expected {SCHEMA_VERSION}.")
    return dict(document)


def _reason(error: RuntimeError) -> str:
    """Return what an error of OpenVINO says after the places in its sources that it begins with."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return reason_of(RuntimeError(" ".join(said))) if said else reason_of(error)


def _mend_(model: Any) -> None:
    """Change operators of a graph that rounds, in place, that OpenVINO (2026.4) computes wrongly.

    - A reduction and the rounding that follows it are computed in one step. Means over an axis that
      is not kept are then off by the whole range, and so are maxima; means of words, which text
      models take, are such reductions. A slice that keeps everything parts the two.
    - Average pooling moves into whole numbers, where what it pads with is not zero but the smallest
      number. Where it pads it is kept out of them.
    """
    operators = model.get_ordered_ops()
    if not any(node.get_type_name() == "FakeQuantize" for node in operators):
        return
    for node in operators:
        if node.get_type_name().startswith("Reduce"):
            _slice_behind_(node)
        elif node.get_type_name() == "AvgPool":
            _stay_exact_(node)


def _slice_behind_(node: Any) -> None:
    from openvino import opset8

    made = node.output(0)
    readers = made.get_target_inputs()
    first, end = np.array([0], np.int64), np.array([_MOST_ROWS])
    whole = opset8.slice(made, first, end, first + 1, first)
    for reader in readers:
        reader.replace_source_output(whole.output(0))


def _stay_exact_(node: Any) -> None:
    from openvino import opset8

    settings = node.get_attributes()
    if settings["exclude-pad"] or not any([*settings["pads_begin"], *settings["pads_end"]]):
        return
    # No number is smaller, so this changes none; and nothing moves a rounding past a maximum.
    exact = opset8.maximum(node.input_value(0), np.float32(np.finfo(np.float32).min))
    node.input(0).replace_source_output(exact.output(0))


def _name_(model: Any) -> None:
    """Number the operators, in place: OpenVINO counts through all that a process ever made."""
    kept = {node.get_friendly_name() for node in (*model.get_parameters(), *model.get_results())}
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() not in kept or node in model.get_results():
            node.set_friendly_name(f"{node.get_type_name()}.{number}")
    model.set_friendly_name("model")
