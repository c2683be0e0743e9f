"""The process that runs a model's file: `python -I _file_child.py RUNTIME FILE THREADS BYTES`.

It uses nothing of SafeCompress. Messages are NPZ archives behind their length: an answer about the
graph's inputs and outputs first, then one answer for each question: the outputs of all its calls,
stacked. An answer with `error` holds what went wrong. BYTES bounds the memory that is asked for
after the imports. Types are named as onnxruntime names them.
"""

from __future__ import annotations

import io
import json
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Slots = list[list[Any]]
"""Name, type and sizes of each input or output; a size that may vary is no positive number."""
Opened = tuple[Slots, Slots, Callable[[str, dict[str, Any]], Any]]
"""Inputs, outputs, and a function of an output's name and the inputs by name."""
_LENGTH = struct.Struct("<Q")


def read_message(source: BinaryIO) -> dict[str, Any] | None:
    """Return the arrays of the next message; None at the end of the stream."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    content = source.read(_LENGTH.unpack(head)[0])
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def write_message(target: BinaryIO, arrays: dict[str, Any]) -> None:
    """Write arrays as one message."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    target.write(_LENGTH.pack(content.tell()) + content.getvalue())
    target.flush()


def onnx(threads: int) -> Callable[[str], Opened]:
    """Import onnxruntime and return a function that opens an ONNX file with it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4

    def opened(path: str) -> Opened:
        session = onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
        inputs, outputs = (
            [[node.name, node.type, node.shape] for node in nodes]
            for nodes in (session.get_inputs(), session.get_outputs())
        )
        return inputs, outputs, lambda wanted, feed: session.run([wanted], feed)[0]

    return opened


def openvino(threads: int) -> Callable[[str], Opened]:
    """Import OpenVINO and return a function that opens an `.xml` with the `.bin` beside it."""
    import openvino as ov

    core = ov.Core()
    names = {"f32": "float", "f64": "double", "f16": "float16", "boolean": "bool"}
    names |= {f"{s}{n}": f"{'u' * (s == 'u')}int{n}" for s in "iu" for n in (8, 16, 32, 64)}

    def slot(port: Any) -> list[Any]:
        kind = port.element_type.get_type_name()
        sizes = [d.get_length() if d.is_static else -1 for d in port.partial_shape]
        return [port.get_any_name(), f"tensor({names.get(kind, kind)})", sizes]

    def opened(path: str) -> Opened:
        # Some processors would otherwise compute in 16 bits, and logits would tie.
        exact = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        model = core.compile_model(core.read_model(path), "CPU", exact)
        inputs, outputs = ([slot(p) for p in ports] for ports in (model.inputs, model.outputs))
        return inputs, outputs, lambda wanted, feed: np.array(model(feed)[wanted])

    return opened


def litert(threads: int) -> Callable[[str], Opened]:
    """Import LiteRT and return a function that opens a `.tflite`."""
    from ai_edge_litert.interpreter import Interpreter

    def slot(detail: dict[str, Any]) -> list[Any]:
        kind = np.dtype(detail["dtype"]).name
        named = {"float32": "float", "float64": "double"}.get(kind, kind)
        sizes = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
        return [detail["name"], f"tensor({named})", [int(size) for size in sizes]]

    def opened(path: str) -> Opened:
        model = Interpreter(model_path=path, num_threads=threads)
        model.allocate_tensors()
        given, made = model.get_input_details(), model.get_output_details()

        def ask(wanted: str, feed: dict[str, Any]) -> Any:
            for detail in given:
                array = feed[detail["name"]]
                now = next(d for d in model.get_input_details() if d["index"] == detail["index"])
                if tuple(now["shape"]) != array.shape:
                    model.resize_tensor_input(detail["index"], array.shape, strict=True)
            model.allocate_tensors()
            for detail in given:
                array = feed[detail["name"]]
                cast = array.astype(detail["dtype"])
                if array.dtype.kind in "iu" and not np.array_equal(cast, array):
                    raise ValueError(f"numbers beyond {cast.dtype} in {detail['name']}")
                model.set_tensor(detail["index"], cast)
            model.invoke()
            return model.get_tensor(next(d["index"] for d in made if d["name"] == wanted))

        return [slot(d) for d in given], [slot(d) for d in made], ask

    return opened


RUNTIMES = {"onnx": onnx, "openvino": openvino, "litert": litert}


def main() -> None:
    """Open the file and answer until the input ends."""
    runtime, path, threads, most = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    questions, answers = sys.stdin.buffer, _answers()
    try:
        opened = RUNTIMES[runtime](threads)
        _limit(most)
        inputs, outputs, ask = opened(path)
        write_message(answers, {"slots": np.array(json.dumps([inputs, outputs]))})
    except Exception as error:
        write_message(answers, {"error": np.array(f"{type(error).__name__}: {error}")})
        return
    while (feed := read_message(questions)) is not None:
        wanted, rows = str(feed.pop("?wanted")), int(feed.pop("?rows"))
        try:
            calls = range(0, len(next(iter(feed.values()))), rows)
            parts = ({k: v[at : at + rows] for k, v in feed.items()} for at in calls)
            write_message(answers, {"output": np.stack([ask(wanted, part) for part in parts])})
        except Exception as error:
            write_message(answers, {"error": np.array(f"{type(error).__name__}: {error}")})


def _answers() -> BinaryIO:
    """Return the stream of answers; what a runtime prints goes where nobody reads it."""
    import os

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _limit(most: int) -> None:
    """Bound the address space; some systems know no such limit, and the parent's clock remains."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bound = pages * resource.getpagesize() + most
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


if __name__ == "__main__":
    main()
