"""The process that runs an ONNX file with loops: `python -I _onnx_child.py FILE THREADS BYTES`.

It uses nothing of SafeCompress. Messages are NPZ archives behind their length: an answer about the
graph's inputs and outputs first, then one answer for each question. An answer with `error` holds
what went wrong. BYTES bounds the memory that is asked for after the imports.
"""

from __future__ import annotations

import io
import json
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

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


def main() -> None:
    """Open the file and answer until the input ends."""
    import onnxruntime

    path, threads, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _limit(most)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        session = onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
        slots = [
            [[node.name, node.type, node.shape] for node in nodes]
            for nodes in (session.get_inputs(), session.get_outputs())
        ]
        write_message(answers, {"slots": np.array(json.dumps(slots))})
    except Exception as error:
        write_message(answers, {"error": np.array(f"{type(error).__name__}: {error}")})
        return
    while (feed := read_message(questions)) is not None:
        wanted = str(feed.pop("?wanted"))
        try:
            (output,) = session.run([wanted], feed)
            write_message(answers, {"output": np.asarray(output)})
        except Exception as error:
            write_message(answers, {"error": np.array(f"{type(error).__name__}: {error}")})


def _limit(most: int) -> None:
    """Bound the address space; some systems know no such limit, and the parent's clock remains."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bound = pages * resource.getpagesize() + most
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


if __name__ == "__main__":
    main()
