"""`open_device_file`: a model's file for OpenVINO or LiteRT as a target.

Such a file is read by its runtime alone, which checks less than it should: of a damaged one it may
crash or ask for all the memory. So no file is opened in this process.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from safecompress.errors import ConfigError, ModelError
from safecompress.targets.onnx_file import limited, target_of_session
from safecompress.targets.target import Target

MAX_BYTES = 2 << 30
"""Largest graph; a FlatBuffer has at most 2 GiB."""
_PACKAGES = {"openvino": ("openvino", "openvino"), "litert": ("ai_edge_litert", "litert")}
"""The module of a runtime and the extra that brings it."""
_FIRST = {"openvino": (b"<?xml", b"<net"), "litert": (b"TFL3",)}


def open_device_file(path: Path, kind: str) -> Target:
    """Read an OpenVINO IR, whose weights are beside it in a `.bin`, or a `.tflite`.

    Every row is asked by itself: the graph does not tell whether it rounds by a range of all rows
    of a call, and members that shared a call would look alike for that reason alone.

    Args:
        path: the `.xml` or `.tflite` file.
        kind: `openvino` or `litert`.

    Raises:
        ConfigError: when the runtime is not installed.
        ModelError: when the file is damaged, is no classifier of numbers, or has weights outside
            its folder.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    module, extra = _PACKAGES[kind]
    if find_spec(module) is None:
        raise ConfigError(
            f"{path}: {module} is not installed; pip install 'safecompress[{extra}]'."
        )
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size:,} bytes; expected at most 2 GiB.")
    with path.open("rb") as file:
        head = file.read(8)
    start = head[4:] if kind == "litert" else head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if not start.startswith(_FIRST[kind]):
        raise ModelError(f"{path}: damaged, or no file for {kind}; it begins with {head!r}.")
    weights = _weights(path) if kind == "openvino" else []
    return target_of_session(limited(path, weights, runtime=kind), path, weights, kind=kind, rows=1)


def _weights(path: Path) -> list[Path]:
    """Return the weights of an IR: OpenVINO reads the `.bin` of the same name where there is one.

    Raises:
        ModelError: when that is a link to another folder.
    """
    beside = path.resolve().with_suffix(".bin")
    if not beside.exists():
        return []
    if beside.resolve().parent != beside.parent:
        raise ModelError(
            f"{path}: its weights {beside.name} are a link out of its folder; refused. Put the "
            "weights beside it."
        )
    return [beside]
