"""A process that trains models of a cohort, one after the other, as it is told to.

`python -m safecompress.cohorts.worker FOLDER THREADS` reads numbers from its standard input, one a
line, and answers each with a line of JSON. It ends with its input: a parent that is killed leaves
no process behind, and what a model's training had reached is in its run folder.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import IO

import torch

from safecompress.cohorts.cohort import Cohort
from safecompress.errors import SafeCompressError


def main() -> None:
    """Serve until the input ends."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    # What anything prints by accident must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; the parent decides, and closes the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    numbers: queue.Queue[int] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, numbers), daemon=True).start()
    cohort = Cohort.open(folder)
    while True:
        number = numbers.get()
        answer = {"number": number} | _train(cohort, number)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _listen(source: IO[str], numbers: queue.Queue[int]) -> None:
    for line in source:
        numbers.put(int(line))
    # Not `sys.exit`: the main thread is deep in a training, and loses no more than by a kill.
    os._exit(0)


def _train(cohort: Cohort, number: int) -> dict[str, str]:
    try:
        cohort.train(number)
    except SafeCompressError as error:
        # A subclass from another package becomes the nearest class that the reader has, too.
        kinds = (k for k in type(error).__mro__ if k.__module__ == SafeCompressError.__module__)
        return {"error": next(kinds).__name__, "text": str(error)}
    return {}


if __name__ == "__main__":
    main()
