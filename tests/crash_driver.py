"""Runs that really die, one forked child each; a program for `tests.commands`: FOLDER PLACE...

A place is `SIGNAL:MODULE:FUNCTION:NUMBER`: the child gets SIGKILL or SIGTERM when that function has
been called that often, just before its body would have run. Forking pays for the imports once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from tests.small_runs import begin, brisk


def main() -> None:
    root = Path(sys.argv[1])
    # Threads of a pool do not survive a fork.
    torch.set_num_threads(1)
    # A run imports much of what it needs when it needs it; every child would pay for it again.
    with brisk():
        begin(root / "left alone")
    for place in sys.argv[2:]:
        child = os.fork()
        if child == 0:
            try:
                die_at(place)
                with brisk():
                    begin(root / place)
            finally:
                # Only reached by a child that was not killed; the test sees its verdict and fails.
                os._exit(0)
        os.waitpid(child, 0)


def die_at(place: str) -> None:
    """Make this process kill itself at a place."""
    name, module_name, function, number = place.split(":")
    module = importlib.import_module(f"safecompress.{module_name}")
    owner: Any = module
    *parents, last = function.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, last)
    calls = 0

    def dying(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(number):
            os.kill(os.getpid(), getattr(signal, name))
        return original(*arguments, **options)

    setattr(owner, last, dying)
