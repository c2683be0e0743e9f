"""A user's own code, named in a configuration as `package.module:callable`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safecompress.errors import UsageError, did_you_mean

# Names offered as "known: …" when nothing is near; a longer list helps nobody.
_MOST_NAMES = 50


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Put the current folder first on the import path for the duration of the block."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)


def import_callable(path: str, *, where: str, error: type[UsageError]) -> Callable[..., Any]:
    """Import `package.module:callable`.

    Args:
        path: what to import; the callable may be an attribute of an attribute.
        where: begins every message.
        error: what to raise.

    Raises:
        UsageError: of the given kind, on another form, a failing import, a missing name, or
            something not callable.
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
