"""Workers of cohorts that are forked from a process which has everything imported.

Each real one imports torch and the package anew, which takes longer than the training of a test.
Tests of how a worker starts, and of what it imports, start real ones.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from safecompress.cohorts import processes, worker
from tests.commands import CONTEXT


class ForkedWorker:
    """A process that serves as `python -m safecompress.cohorts.worker` does.

    Args:
        folder: the cohort's.
        threads: of the process.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        numbers, ours = CONTEXT.Pipe(duplex=False)
        theirs, answers = CONTEXT.Pipe(duplex=False)
        words = ["worker", str(folder), str(threads)]
        self._process = CONTEXT.Process(target=_serve, args=(words, numbers, answers))
        self._process.start()
        self.stdin = os.fdopen(os.dup(ours.fileno()), "w")
        self.stdout = os.fdopen(os.dup(theirs.fileno()))
        for end in (numbers, ours, theirs, answers):
            end.close()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def wait(self) -> int | None:
        """Wait for its end and return its exit code."""
        self._process.join()
        return self._process.exitcode


def forked_workers(patch: pytest.MonkeyPatch) -> list[ForkedWorker]:
    """Let cohorts fork their workers, and return a list that each of them is added to."""
    started: list[ForkedWorker] = []

    def begin(self: processes._Worker) -> ForkedWorker:
        started.append(ForkedWorker(self._folder, self._threads))
        return started[-1]

    patch.setattr(processes._Worker, "_begin", begin)
    return started


def _serve(words: list[str], numbers: Connection, answers: Connection) -> None:
    os.dup2(numbers.fileno(), 0)
    os.dup2(answers.fileno(), 1)
    numbers.close()
    answers.close()
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.argv = words
    worker.main()
