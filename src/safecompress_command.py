"""`main`, where the `safecompress` command starts, and `__version__`, the version of the package.

This module stands outside the package so that it imports nothing else: the question for the version
is answered before the command line is put together.
"""

from __future__ import annotations

import gc
import sys
from importlib.metadata import version

__version__ = version("safecompress")
"""As `pyproject.toml` says it; an installed package carries it in its metadata."""


def version_line() -> str:
    """Return what `safecompress --version` prints.

    >>> version_line() == f"safecompress {__version__}"
    True
    """
    return f"safecompress {__version__}"


def main() -> None:
    """Answer `--version` alone at once; leave everything else to `safecompress.cli`."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"{version_line()}\n")
        return
    # What imports make stays, and looking through it for garbage takes a sixth of their time.
    gc.set_threshold(50_000, 20, 20)
    try:
        from safecompress.cli import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (ImportError, OSError, MemoryError) as error:
        # Python would end with exit code 1, which means a failed verdict.
        sys.stderr.write(f"safecompress: cannot be loaded: {type(error).__name__}: {error}\n")
        raise SystemExit(4) from None
    run()
