"""`import_callable`: a user's own code, named as `package.module:callable` in a configuration."""

from __future__ import annotations

import importlib
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
    """Run a block with the current folder first on the import path."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)


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
            f"{where}: importing {module_name} raised {type(raised).__name__}: {raised}; the "
            f"current folder ({Path.cwd()}) and installed packages are searched."
        ) from raised
    for part in name.split("."):
        if not hasattr(target, part):
            public = [n for n in dir(target) if not n.startswith("_")]
            near = did_you_mean(part, public) if len(public) <= _MOST_NAMES else "."
            raise error(f"{where}: {module_name} has no '{name}'{near}")
        target = getattr(target, part)
    if not callable(target):
        raise error(f"{where}: '{path}' is a {type(target).__name__}, not a callable.")
    return target  # type: ignore[no-any-return]
