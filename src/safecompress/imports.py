"""`import_callable`: a user's own code, named as `package.module:callable` in a configuration.

The current folder is on the import path only while such code is imported and called
(`current_folder_importable`); the processes that train models start without it (`isolated_path`).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safecompress.errors import UsageError, did_you_mean

# Most names of a module that a message lists; a longer list hides what went wrong.
_MOST_NAMES = 50


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Run a block with the current folder last on the import path.

    It is last because whatever the block imports for the first time may have the name of a file
    there: a user's `queue.py` or `random.py` must not stand in for Python's.
    """
    folder = str(Path.cwd())
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        # The block may have changed the path; only the entry that was added here is removed.
        with suppress(ValueError):
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]


def isolated_path() -> tuple[list[str], list[str]]:
    """Return the import path of this process with the current folder apart.

    Returns:
        The path without the current folder; and the current folder, which belongs behind it, where
        this process looks there, too: a script lies in it, or Python was started with `-c` or `-m`.
        A folder that `PYTHONPATH` names was asked for and stays in its place.
    """
    here = str(Path.cwd())
    path = [entry or here for entry in sys.path]
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if here in map(os.path.abspath, named):
        return path, []
    rest = [entry for entry in path if entry != here]
    return rest, [here] if len(rest) < len(path) else []


def import_callable(path: str, *, where: str, error: type[UsageError]) -> Callable[..., Any]:
    """Return the callable that `package.module:callable` names.

    Args:
        path: the import path; the callable may be an attribute of an attribute (`module:A.b`).
        where: begins every message.
        error: type of the error to raise.

    Raises:
        UsageError: of the given type, when the path has another form, the import fails, or the name
            is missing or not callable.
    """
    module_name, separator, name = path.partition(":")
    if not (separator and module_name and name):
        raise error(f"{where}: expected package.module:callable, got '{path}'.")
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as raised:
        raise error(
            f"{where}: importing {module_name} raised {type(raised).__name__}: {raised}; "
            f"installed packages and then the current folder ({Path.cwd()}) are searched."
        ) from raised
    for part in name.split("."):
        if not hasattr(target, part):
            public = [n for n in dir(target) if not n.startswith("_")]
            near = did_you_mean(part, public) if len(public) <= _MOST_NAMES else "."
            found = getattr(sys.modules[module_name], "__file__", None) or "built into Python"
            raise error(f"{where}: {module_name} ({found}) has no '{name}'{near}")
        target = getattr(target, part)
    if not callable(target):
        raise error(f"{where}: '{path}' is a {type(target).__name__}, not a callable.")
    return target  # type: ignore[no-any-return]
