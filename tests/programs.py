"""Programs other than the command line that `tests.commands` runs in processes of their own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def stopped_comparison() -> None:
    """Run the command line, and send it SIGTERM once it has trained a group of models."""
    from safecompress.cohorts import processes
    from safecompress_command import main

    reporter = processes._ProgressReporter
    trained = reporter.trained

    def stop(self: object, numbers: object) -> None:
        trained(self, numbers)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)

    reporter.trained = stop  # type: ignore[assignment, method-assign]
    main()


def on_console(console: str) -> None:
    """Run the command line on a console that takes less than most.

    Args:
        console: `full`, `closed`, `pipe` whose reader has gone, or the name of an encoding, whose
            bytes go to a file of that name.
    """
    from safecompress_command import main

    reading, writing = os.pipe()
    os.close(reading)
    path = "/dev/full" if console == "full" else f"{console}.txt"
    os.dup2(writing if console == "pipe" else os.open(path, os.O_WRONLY | os.O_CREAT), 1)
    if console == "closed":
        os.close(1)
        sys.stdout = None  # type: ignore[assignment]
    else:
        encoding = {"full": "utf-8", "pipe": "utf-8"}.get(console, console)
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    main()


def measured() -> None:
    """Run the command line, and print its exit code and the most memory that it held, in KiB."""
    from safecompress.cli.app import main

    try:
        main()
    except SystemExit as end:
        # Not `ru_maxrss`: it also counts the process that started this one, as large as it was.
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        print(end.code, peak)


def answers() -> None:
    """Print as JSON what the model of a run folder says of texts in a JSON file."""
    import json

    import torch

    from safecompress import load, load_preprocessor

    _, folder, texts = sys.argv
    rows = load_preprocessor(folder).apply(json.loads(Path(texts).read_text()))
    with torch.inference_mode():
        print(json.dumps(load(folder)(rows).tolist()))


def pytest_session() -> None:
    """Run pytest as `python -m pytest` does."""
    import pytest

    sys.exit(pytest.main(sys.argv[1:]))
