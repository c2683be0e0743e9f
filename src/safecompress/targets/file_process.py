"""`LimitedSession`: a model's file in a process of its own, with a limit on its time and memory.

A graph with loops is a program: it may run for ever, or ask for more memory in every round. No
check of the file can tell, so such a file is run where it can be stopped. ONNX files without loops
do as much work as they have operators and need no process. Files for OpenVINO and LiteRT always run
in one: a damaged one may end the process that reads it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import ModelError
from safecompress.targets._file_child import read_message, write_message

LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})
"""Operators that repeat a part of the graph."""
ROWS = 64
"""Most rows in one question, unless a single call has more."""
SECONDS = 60.0
"""Most seconds for one answer."""
BYTES = 4 << 30
"""Most bytes that the process may ask for, beside four times those of its files."""


class LimitedSession:
    """As much of an `InferenceSession` as a target uses, run elsewhere.

    Args:
        path: the file, resolved.
        runtime: what computes with it: `onnx`, `openvino` or `litert`.
        reason: why it runs alone, as a sentence for messages.
        threads: of one operator.
        size: bytes of the file and its weights.

    Raises:
        ModelError: when the file cannot be loaded within the limits.
    """

    def __init__(self, path: Path, *, runtime: str, reason: str, threads: int, size: int) -> None:
        self._path, self._reason = path, reason
        self._calls = 1
        script = Path(__file__).with_name("_file_child.py")
        command = [sys.executable, "-I", str(script), runtime, str(path)]
        self._process = subprocess.Popen(  # noqa: S603 - our own script, by its path
            [*command, str(threads), str(BYTES + 4 * size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        weakref.finalize(self, _end, self._process)
        inputs, outputs = json.loads(str(self._answer()["slots"]))
        self._inputs, self._outputs = _slots(inputs), _slots(outputs)

    def get_inputs(self) -> list[SimpleNamespace]:
        """Return the graph's inputs with `name`, `type` and `shape`."""
        return self._inputs

    def get_outputs(self) -> list[SimpleNamespace]:
        """Return the graph's outputs with `name`, `type` and `shape`."""
        return self._outputs

    def run_in_calls(
        self, wanted: str, feed: Mapping[str, NDArray[Any]], *, rows: int
    ) -> list[NDArray[Any]]:
        """Return one output of the graph for every call.

        Several short calls share a question to the process, because a message takes longer than a
        call of a small graph. How many share one changes no output.

        Args:
            wanted: its name.
            feed: n rows of every input, by the input's name; n is at least 1.
            rows: number of rows in a call; the last has what is left.

        Raises:
            ModelError: when the graph fails, or takes more time or memory than it may.
        """
        outputs: list[NDArray[Any]] = []
        count = len(next(iter(feed.values())))
        start = 0
        while start < count:
            stop = start + rows * self._calls
            began = time.monotonic()
            part = {name: array[start:stop] for name, array in feed.items()}
            question = {"?wanted": np.array(wanted), "?rows": np.array(rows)}
            outputs.extend(self._answer({**part, **question})["output"])
            # Twice as many are still far from the limit on the time of an answer.
            if time.monotonic() - began < SECONDS / 16 and 2 * rows * self._calls <= ROWS:
                self._calls *= 2
            start = stop
        return outputs

    def _answer(self, question: Mapping[str, NDArray[Any]] | None = None) -> dict[str, Any]:
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise TypeError("a process without pipes")
        clock = threading.Timer(SECONDS, process.kill)
        clock.start()
        try:
            if question is not None:
                write_message(process.stdin, dict(question))  # type: ignore[arg-type]
            answer = read_message(process.stdout)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise ModelError(f"{self._path}: its process ended ({error}).") from error
        finally:
            in_time = clock.is_alive()
            clock.cancel()
        if answer is None:
            why = "its process ended, perhaps for lack of memory"
            if not in_time:
                why = f"it took more than {SECONDS:.0f} s and was stopped"
            raise ModelError(f"{self._path}: {why}. {self._reason}")
        if "error" in answer:
            raise ModelError(str(answer["error"])[:300])
        return answer


def _slots(described: Sequence[Sequence[Any]]) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=name, type=kind, shape=shape) for name, kind, shape in described]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()
