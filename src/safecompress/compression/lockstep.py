"""`in_lockstep`: several runs that advance in turn, and whose networks are trained side by side.

A run is ordinary code that asks for training here and there. Each one has a thread of its own, of
which only one is ever awake: it goes on until it asks for training. When all of them wait for
training, everything that they ask for is done in one call, and each is woken with its own result.
So no two runs ever touch shared state at once, and the order of events is always the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from safecompress.train import Task, Trained, train_side_by_side

Training: TypeAlias = Callable[[Sequence[Task]], list[Trained]]
"""Trains candidates, and returns one result for each."""
Answer: TypeAlias = list[Trained] | BaseException


def in_lockstep(runs: Sequence[Callable[[Training], None]]) -> list[Exception | None]:
    """Let runs advance together until each has ended, and return the error that ended each.

    Args:
        runs: each is called with what it must train by.

    Returns:
        Per run, in order, the exception that it raised; None where it came to its end.
    """
    members, before = [_Member(run) for run in runs], torch.get_num_threads()
    try:
        for member in members:
            member.go_on()
        while waiting := [member for member in members if member.asked is not None]:
            # Sums depend on the number of threads, which a resumed run takes from its record.
            threads = waiting[0].threads
            torch.set_num_threads(threads)
            _serve([member for member in waiting if member.threads == threads])
    finally:
        torch.set_num_threads(before)
        # After Ctrl-C some still wait; they end as if it had been pressed while they trained.
        for member in members:
            member.interrupt()
    return [member.error for member in members]


def _serve(waiting: Sequence[_Member]) -> None:
    """Train what these wait for, and wake each with its own results or the error."""
    asked = [member.asked or () for member in waiting]
    try:
        trained = iter(train_side_by_side([task for tasks in asked for task in tasks]))
        answers: list[Answer] = [[next(trained) for _ in tasks] for tasks in asked]
    except Exception as error:
        answers = [error] * len(waiting)
    for member, answer in zip(waiting, answers, strict=True):
        member.go_on(answer)


class _Member:
    """A run in its own thread, awake only inside `go_on`.

    Attributes:
        asked: the tasks that it waits for; None before its first, and once it has ended.
        error: the exception that ended it.
        threads: with how many torch threads it asked.
    """

    def __init__(self, run: Callable[[Training], None]) -> None:
        self.asked: Sequence[Task] | None = None
        self.error: Exception | None = None
        self.threads = torch.get_num_threads()
        self._run = run
        self._answer: Answer = []
        self._running = False
        self._awake, self._asleep = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._main, daemon=True)

    def go_on(self, answer: Answer | None = None) -> None:
        """Wake the run with what it asked for, and return when it asks again or has ended."""
        self._running = True
        if answer is None:
            self._thread.start()
        else:
            self._answer, self.asked = answer, None
            self._awake.release()
        self._sleep()

    def _sleep(self) -> None:
        self._asleep.acquire()
        self._running = False

    def interrupt(self) -> None:
        """End a run that has not ended, as Ctrl-C would the next time it asks for training."""
        if self._running:
            # Ctrl-C is raised in the main thread, while this run was awake and unaware of it.
            self._sleep()
        while self.asked is not None:
            self.go_on(KeyboardInterrupt())

    def _main(self) -> None:
        try:
            self._run(self._train)
        except Exception as error:
            self.error = error
        except KeyboardInterrupt:
            pass
        finally:
            self._asleep.release()

    def _train(self, tasks: Sequence[Task]) -> list[Trained]:
        self.asked, self.threads = tasks, torch.get_num_threads()
        self._asleep.release()
        self._awake.acquire()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer
