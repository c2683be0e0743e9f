"""`main`: a process that trains the models of a cohort whose numbers it reads from its input.

`python -P -m safecompress.cohorts.worker FOLDER THREADS [LAST]` reads lines of numbers from its
standard input, trains the models of a line side by side, and writes a line of JSON for each line.
It ends when its input ends, so a killed parent leaves no process behind; the training can be
resumed from the checkpoints in the models' run folders. LAST is a folder where modules are looked
for last.
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
    sys.path.extend(sys.argv[3:])
    # Whatever libraries print goes to standard error, so that it is not read as an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(threads)
    # Ctrl-C and the end of a terminal are sent to every process in it. The worker ignores them,
    # because its parent ends it.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    numbers: queue.Queue[list[int]] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, numbers), daemon=True).start()
    cohort = Cohort.open(folder)
    while True:
        group = numbers.get()
        answer = {"numbers": group} | _train(cohort, group)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _listen(source: IO[str], numbers: queue.Queue[list[int]]) -> None:
    for line in source:
        numbers.put([int(number) for number in line.split()])
    # `sys.exit` would end this thread alone. The main thread may be training; ending it loses only
    # the work since the last checkpoint.
    os._exit(0)


def _train(cohort: Cohort, numbers: list[int]) -> dict[str, str]:
    try:
        cohort.train_together(numbers)
    except SafeCompressError as error:
        # The parent looks the class up in `safecompress.errors`; for a subclass from another
        # package it is given the nearest base class that is defined there.
        kinds = (k for k in type(error).__mro__ if k.__module__ == SafeCompressError.__module__)
        return {"error": next(kinds).__name__, "text": str(error)}
    return {}


if __name__ == "__main__":
    main()
