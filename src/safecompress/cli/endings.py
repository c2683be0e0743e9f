"""`run_to_an_end`: a command ends with a message and an exit code that means what happened.

Exit codes: 0 pass, 1 a critical check failed, 2 usage or bad input, 3 inconclusive, 4 a check or
the program itself could not do its work, 130 interrupted (129 and 143: by SIGHUP and SIGTERM).
Python and click end with 1 after whatever they do not know, so nothing is left to them.
"""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from typer.core import TyperGroup

from safecompress.errors import InterruptedRunError, SafeCompressError

_ENDING = [s for name in ("SIGTERM", "SIGHUP") if (s := getattr(signal, name, None)) is not None]
"""Signals that end a command as Ctrl-C does; Windows has no SIGHUP."""


_KEPT = {
    "compare": "finished cells and models are kept",
    "audit": "shadow models that are trained are kept",
    "release": "shadow models that are trained are kept",
}
"""Of verbs whose work outlasts an interruption, what is kept; `compress` and `demo` say so
themselves, in the error that an interrupted run ends with."""


class EndedError(KeyboardInterrupt):
    """The operating system or a scheduler asks the command to end.

    Args:
        number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class VerbError(Exception):
    """Carries what a verb raised past click, which would end with exit code 1 after some errors."""


class TellingGroup(TyperGroup):
    """Commands of which whatever one raises reaches `run_to_an_end`."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb.

        Args:
            ctx: click's context.

        Raises:
            VerbError: from an error that click has a meaning of its own for.
        """
        try:
            return super().invoke(ctx)
        except (OSError, EOFError, KeyboardInterrupt) as error:
            raise VerbError from error


def run_to_an_end(command: Callable[[], object]) -> None:
    """Run the command line.

    Args:
        command: reads the arguments and runs a verb.

    Raises:
        SystemExit: with the exit code, always.
    """
    try:
        with _signals_end():
            command()
    except SystemExit:
        raise
    except BaseException as error:
        code = 4
        # Where memory is used up, writing a message may fail in its turn.
        with suppress(Exception):
            code = _told(error.__cause__ or error if isinstance(error, VerbError) else error)
        raise SystemExit(code) from None
    raise SystemExit(0)


def _told(error: BaseException) -> int:
    """Say what ended the command, and return its exit code."""
    if isinstance(error, SafeCompressError):
        _print_error(str(error))
        by_signal = isinstance(error, InterruptedRunError) and error.__cause__
        return _code_of(by_signal) if by_signal else error.exit_code
    if isinstance(error, KeyboardInterrupt):
        _print_error(_how_to_go_on(sys.argv[1:]))
        return _code_of(error)
    if isinstance(error, MemoryError):
        _print_error("out of memory; free some, or give the command less to do at once.")
        return 4
    traceback.print_exception(error)
    _print_error(f"internal error: {error!r}. Please report it with the lines above.")
    return 4


def _how_to_go_on(words: Sequence[str]) -> str:
    """Return what is kept of an interrupted command, and the command that goes on.

    Args:
        words: the command line, without the program's name.
    """
    kept = _KEPT.get(next(iter(words), ""))
    again = shlex.join(["safecompress", *words])
    return (
        f"interrupted; {kept}. Go on with: {again}"
        if kept
        else f"interrupted; begin again: {again}"
    )


def _code_of(interruption: BaseException) -> int:
    return 128 + interruption.number if isinstance(interruption, EndedError) else 130


def _print_error(text: str) -> None:
    sys.stderr.write(f"safecompress: {text}\n")


@contextmanager
def _signals_end() -> Iterator[None]:
    """Run a block in which signals that ask for an end raise `EndedError`, once.

    The second one of a kind ends the process at once. Signals that are ignored stay so, as `nohup`
    wants SIGHUP.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        raise EndedError(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {s: signal.getsignal(s) for s in _ENDING}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:
                signal.signal(number, handler)
