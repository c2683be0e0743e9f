"""`open_onnx` and `OnnxModel`: an ONNX file as a target, with its own shapes and batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.errors import ConfigError, DataError, ModelError, brief
from safecompress.protocols import Inputs
from safecompress.targets.file_process import LOOPS, LimitedSession
from safecompress.targets.onnx_guard import INSTALL, checked_graph, operators
from safecompress.targets.target import Target

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_OUTPUT_NAMES = ("logits", "probabilities", "probs")
_BATCH = 64
"""Rows in a call where the graph does not fix them; activations of large images still fit."""
_RANGE_PER_CALL = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
)
"""Operators that quantize with one range for all rows of a call."""


_ALONE = "Files for it always run in a process of their own."
_RUNTIMES = {
    "onnx": ("onnxruntime", "It runs alone because it has loops."),
    "openvino": ("OpenVINO", _ALONE),
    "litert": ("LiteRT", _ALONE),
}
"""What a runtime is called, and why a file runs in a process of its own, by the runtime."""


@dataclass(frozen=True)
class _Slot:
    """One input of the graph: its name, its type, and its sizes, None where they may vary."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...]


class OnnxModel:
    """A graph as a callable from inputs, in its order or by name, to logits or probabilities.

    Args:
        session: an `InferenceSession` of onnxruntime.
        slots: the graph's inputs.
        output: name of the output that holds logits or probabilities.
        path: the file, for messages.
        rows: number of rows in a call where the graph does not fix it.

    Raises:
        ModelError: when the graph's inputs have batches of different sizes.
    """

    def __init__(
        self,
        session: Any,
        slots: tuple[_Slot, ...],
        output: str,
        path: Path,
        *,
        rows: int = _BATCH,
    ) -> None:
        self._session, self._slots, self._output, self._path = session, slots, output, path
        fixed = {slot.shape[0] for slot in slots if slot.shape} - {None}
        if len(fixed) > 1:
            raise ModelError(f"{path}: its inputs have batches of {sorted(map(str, fixed))} rows.")
        self._fixed = next(iter(fixed), None)
        self._rows = self._fixed or rows

    def __call__(self, *inputs: Tensor, **named: Tensor) -> NDArray[np.float32]:
        """Return logits or probabilities, (n, classes), computed in batches of the graph's size.

        Args:
            *inputs: CPU tensors (n, ...) in the order of the graph's inputs; or none.
            **named: the same by name. Real numbers are rounded to the precision of the graph.

        Raises:
            ModelError: when the graph fails, or its output is not (n, classes).
        """
        given = inputs or tuple(named[slot.name] for slot in self._slots)
        arrays = [
            _precise(tensor.numpy(), slot) for tensor, slot in zip(given, self._slots, strict=True)
        ]
        rows = len(arrays[0])
        if self._fixed and rows % self._fixed:
            # A graph of fixed batch size takes no smaller batch: repeat the last row to fill it.
            fill = np.minimum(np.arange(-(-rows // self._fixed) * self._fixed), rows - 1)
            arrays = [array[fill] for array in arrays]
        return np.concatenate(self._outputs(arrays))[:rows]

    def _outputs(self, arrays: list[Any]) -> list[NDArray[np.float32]]:
        """Return the output of every call."""
        count, step = len(arrays[0]), self._rows
        feed = {slot.name: array for slot, array in zip(self._slots, arrays, strict=True)}
        try:
            if isinstance(self._session, LimitedSession):
                outputs = self._session.run_in_calls(self._output, feed, rows=step)
            else:
                outputs = [
                    self._session.run(
                        [self._output], {k: v[at : at + step] for k, v in feed.items()}
                    )[0]
                    for at in range(0, count, step)
                ]
        except Exception as error:
            raise ModelError(
                f"{self._path}: the graph failed on its inputs: {brief(error)}"
            ) from error
        for at, output in zip(range(0, count, step), outputs, strict=True):
            self._require_answer(output, rows=min(step, count - at))
        with np.errstate(over="ignore"):
            return [np.asarray(output, dtype=np.float32) for output in outputs]

    def _require_answer(self, output: NDArray[Any], *, rows: int) -> None:
        """Raise a ModelError for an output of a call that is not (rows, classes)."""
        if output.ndim != 2 or len(output) != rows or output.shape[1] < 2:
            raise ModelError(
                f"{self._path}: output '{self._output}' has shape {output.shape} for "
                f"{rows} rows; expected ({rows}, classes) with at least 2 "
                "classes. Of one logit z of two classes, let the graph return 0 and z."
            )


def open_onnx(path: Path) -> Target:
    """Read an ONNX file; its weights may be in files beside it, but nowhere else.

    A graph that quantizes by the range of a whole call runs one row at a time. Otherwise the rows
    of a call would share a range, and members that are in one call would look alike for that reason
    alone.

    Args:
        path: the `.onnx` file.

    Raises:
        ConfigError: when onnxruntime or onnx is not installed.
        ModelError: when the file is damaged, or is no classifier of numbers.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    graph, weights = checked_graph(path)
    used = operators(graph)
    range_per_call = used & _RANGE_PER_CALL
    session = limited(path, weights) if used & LOOPS else _session(path)
    rows = 1 if range_per_call else _BATCH
    return target_of_session(session, path, weights, kind="onnx", rows=rows)


def target_of_session(
    session: Any, path: Path, weights: Sequence[Path], *, kind: str, rows: int
) -> Target:
    """Return a graph that a runtime has opened as a target.

    Args:
        session: answers as an `InferenceSession` of onnxruntime does.
        path: the file.
        weights: further files that were read.
        kind: of the target.
        rows: number of rows in a call where the graph does not fix it.

    Raises:
        ModelError: when it is no classifier of numbers.
    """
    slots = tuple(_slot(node, path) for node in session.get_inputs())
    if not slots:
        raise ModelError(f"{path}: the graph has no inputs.")
    output = _answer(session.get_outputs(), path)
    model = OnnxModel(session, slots, output, path, rows=rows)

    def inputs(rows: Any) -> Inputs:
        given = _by_slot(rows, slots, path)
        return tuple(_fitted(array, slot, path) for slot, array in zip(slots, given, strict=True))

    return Target(
        path=path,
        kind=kind,
        model=model,
        inputs=lambda pool: pool.map(inputs),
        texts=False,
        labels=(),
        files=(path, *weights),
    )


def limited(path: Path, weights: Sequence[Path], *, runtime: str = "onnx") -> Any:
    """Return a session in a process of its own, for a graph that may never end.

    Args:
        path: the file.
        weights: further files that are read with it.
        runtime: what computes with it: `onnx`, `openvino` or `litert`.

    Raises:
        ModelError: when the runtime cannot load it within the limits.
    """
    called, reason = _RUNTIMES[runtime]
    size = sum(file.stat().st_size for file in (path, *weights))
    try:
        return LimitedSession(
            path.resolve(),
            runtime=runtime,
            reason=reason,
            threads=torch.get_num_threads(),
            size=size,
        )
    except ModelError as error:
        raise ModelError(f"{path}: {called} cannot load it: {brief(error)}") from error


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{path}: onnxruntime is not installed; {INSTALL}.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            # onnxruntime looks for weights beside the path it gets. Resolve links, so that these
            # are the files that were checked.
            str(path.resolve()),
            sess_options=options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:
        raise ModelError(f"{path}: onnxruntime cannot load it: {brief(error)}") from error


def _slot(node: Any, path: Path) -> _Slot:
    if node.type not in _TYPES:
        raise ModelError(
            f"{path}: input '{node.name}' is of {node.type}; expected numbers. Put what makes "
            "numbers of it in front of the model, under data.preprocessing."
        )
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return _Slot(node.name, _TYPES[node.type], shape)


def _answer(outputs: Any, path: Path) -> str:
    """Return the name of the output that holds logits or probabilities."""
    listed = ", ".join(f"'{node.name}' {node.type} {node.shape}" for node in outputs)[:300]
    if any("map(" in node.type for node in outputs):
        raise ModelError(
            f"{path}: its outputs are {listed}; a sequence of maps cannot be read. With skl2onnx, "
            "convert again with options={id(model): {'zipmap': False}}."
        )
    floats = [
        node.name
        for node in outputs
        if node.type in _FLOATS and (node.shape is None or len(node.shape) in {0, 2})
    ]
    named = [name for name in floats if name.lower() in _OUTPUT_NAMES]
    if len(floats) == 1 or len(named) == 1:
        return str((named or floats)[0])
    raise ModelError(
        f"{path}: its outputs are {listed}; expected one of floating-point numbers (rows, classes)"
        + (", or one called logits or probabilities." if floats else ".")
    )


def _precise(array: NDArray[Any], slot: _Slot) -> NDArray[Any]:
    real = array.dtype.kind == "f" and np.dtype(slot.dtype).kind == "f"
    return array.astype(slot.dtype, copy=False) if real else array


def _by_slot(rows: Any, slots: tuple[_Slot, ...], path: Path) -> list[Any]:
    """Return one array for each input, from a mapping, a tuple or a single array."""
    names = [slot.name for slot in slots]
    if isinstance(rows, Mapping):
        if set(rows) == set(names):
            return [rows[name] for name in names]
        if len(slots) == 1:
            return [_table(rows, path)]
        raise DataError(
            f"{path}: takes the inputs {', '.join(names)}; got {', '.join(map(str, rows))[:200]}."
        )
    given = list(rows) if isinstance(rows, tuple) else [rows]
    if len(given) != len(slots):
        raise DataError(
            f"{path}: takes {len(slots)} inputs ({', '.join(names)}); got {len(given)}. Give a "
            "mapping or a tuple of them, or a table with these columns."
        )
    return given


def _table(columns: Mapping[str, Any], path: Path) -> NDArray[Any]:
    for name, values in columns.items():
        if np.asarray(values).dtype.kind not in "biuf":
            raise DataError(
                f"{path}: column '{name}' holds no numbers; say under data.preprocessing how the "
                "columns become numbers, as in training, or leave it out with data.source.drop."
            )
    return np.stack([np.asarray(values) for values in columns.values()], axis=1)


def _fitted(values: Any, slot: _Slot, path: Path) -> Tensor:
    """Return values in the type of an input; raise DataError where they do not fit it."""
    array = np.asarray(values)
    where = f"{path}: input '{slot.name}'"
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where} takes numbers; got {array.dtype}.")
    if array.ndim == 1 and len(slot.shape) == 2 and slot.shape[1] in {1, None}:
        array = array[:, None]
    wanted = ", ".join("?" if size is None else str(size) for size in slot.shape[1:])
    fits = len(slot.shape) in {0, array.ndim} and all(
        size in {None, have} for size, have in zip(slot.shape[1:], array.shape[1:], strict=False)
    )
    if not fits:
        raise DataError(
            f"{where} takes rows of shape ({wanted}); these rows have shape "
            f"{array.shape[1:]}. Say under data.preprocessing what training did to them, for "
            "example layout: image."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.ascontiguousarray(array.astype(slot.dtype))
    exact = cast.dtype.kind == "f" or np.array_equal(cast, array)
    if not exact or not np.isfinite(cast).all():
        raise DataError(
            f"{where} is of {cast.dtype}; these rows, of {array.dtype}, do not fit into it."
        )
    return torch.from_numpy(cast)
