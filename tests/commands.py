"""The command line in processes of their own that need not import everything anew.

Importing the package and what a verb needs takes seconds, longer than most verbs do. So one server
process imports them once and forks a child for every command. Tests of how the program starts, and
of what it imports, start it themselves.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        # The first step of an optimizer imports torch's compiler, which takes longer than a run.
        *("torch", "torch._dynamo"),
        *("safecompress.cli.app", "safecompress.compress", "safecompress.audit"),
        *("sklearn.ensemble", "sklearn.linear_model", "transformers.models.bert.modeling_bert"),
    ]
)

_NUMBERS = itertools.count()


@functools.cache
def _folder() -> Path:
    """Return the folder of what commands of this process print."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class Command:
    """`safecompress` with some words, running or ended.

    Args:
        words: the words behind the program's name.
        cwd: where it runs; here by default.
        env: environment variables that are set or replaced.
        path: folders in which modules and installed packages are found first.
        program: what runs in place of the command line, by a name that can be imported.
    """

    def __init__(
        self,
        *words: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        path: tuple[Path, ...] = (),
        program: Callable[[], object] | None = None,
    ) -> None:
        number = next(_NUMBERS)
        self._files = _folder() / f"{number}.out", _folder() / f"{number}.err"
        self._process = CONTEXT.Process(
            target=_run,
            args=(
                *(list(map(str, words)), cwd or Path.cwd(), dict(env or {})),
                *(path, self._files, program),
            ),
        )
        self._process.start()

    @property
    def stdout(self) -> str:
        """What it has printed."""
        return self._files[0].read_text(encoding="utf-8") if self._files[0].exists() else ""

    @property
    def stderr(self) -> str:
        """What it has complained of."""
        return self._files[1].read_text(encoding="utf-8") if self._files[1].exists() else ""

    def poll(self) -> int | None:
        """Return its exit code, the negative number of a signal that ended it; None as it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def ended(self, timeout: float = 300) -> Command:
        """Wait until it has ended, and return it.

        Args:
            timeout: the most seconds; then it is killed and the test fails.
        """
        until = time.monotonic() + timeout
        self._process.join(timeout)
        if time.monotonic() > until and self._process.is_alive():
            self._process.kill()
            raise TimeoutError(f"a command took more than {timeout} s; it said: {self.stderr}")
        return self

    @property
    def returncode(self) -> int:
        """Its exit code, once it has ended."""
        code = self.poll()
        assert code is not None
        return code


def command(
    *words: object,
    path: tuple[Path, ...] = (),
    cwd: Path | None = None,
    program: Callable[[], object] | None = None,
) -> Command:
    """Run `safecompress` with some words to its end.

    Args:
        words: the words behind the program's name.
        path: folders in which modules and installed packages are found first.
        cwd: where it runs; here by default.
        program: what runs in place of the command line, by a name that can be imported.
    """
    return Command(*words, path=path, cwd=cwd, program=program).ended()


def _run(
    words: list[str],
    cwd: Path,
    env: dict[str, str],
    path: tuple[Path, ...],
    files: tuple[Path, Path],
    program: Callable[[], object] | None,
) -> None:
    from safecompress_command import main

    for number, file in enumerate(files, start=1):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(cwd)
    os.environ.update(env)
    sys.path[:0] = map(str, path)
    sys.argv = ["safecompress", *words]
    # The server ignores Ctrl-C, as do tests that a shell runs in the background, and a test run
    # that was begun by `nohup` ignores the end of its terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    (program or main)()
