"""`require_outputs` and `write_outputs`: files that a command writes besides its results.

Their places are checked before the work, so that no hour of attacks ends in a missing folder. They
are written before the verdict is printed, and one that fails then does not hide the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safecompress.errors import ConfigError, StorageError
from safecompress.files import make_folder, require_file, require_folder, write_text


def require_outputs(
    *,
    folders: Mapping[str, Path | None] | None = None,
    files: Mapping[str, Path | None],
    inputs: Mapping[str, str | Path | None] | None = None,
    force: bool = False,
) -> None:
    """Make the folders of all outputs, and check before any work that they can be written.

    Args:
        folders: by option, a folder of results; None where it is not asked for.
        files: by option, a file; None likewise.
        inputs: by option or name, what the command reads, where it is a path.
        force: whether files may be replaced that this program did not write.

    Raises:
        ConfigError: naming the option, when its place cannot be written, two options name one, or
            an input or another program's file would be lost.
    """
    for option, folder in (folders or {}).items():
        if folder is not None:
            require_folder(folder, option=option)
    taken: dict[Path, str] = {}
    for option, file in files.items():
        if file is None:
            continue
        require_file(file, option=option)
        other = taken.setdefault(file.resolve(), option)
        if other != option:
            raise ConfigError(f"{option} {file}: {other} names the same file; name another.")
        for name, given in (inputs or {}).items():
            if given is not None and Path(given).expanduser().resolve() == file.resolve():
                raise ConfigError(f"{option} {file}: is read as {name}; name another file.")
        if not force and file.exists() and not _is_ours(file, option):
            raise ConfigError(
                f"{option} {file}: exists and was not written by SafeCompress; name another file, "
                "or pass --force to replace it."
            )


def write_outputs(
    files: Mapping[str, tuple[Path | None, Callable[[], str]]],
) -> StorageError | None:
    """Write files, and return the first error that kept one from being written.

    Args:
        files: by option, the file (None where it is not asked for) and what makes its text.
    """
    first = None
    for option, (path, text) in files.items():
        if path is None:
            continue
        try:
            make_folder(path.parent)
            write_text(path, text())
        except StorageError as error:
            first = first or StorageError(f"{option}: {error}")
    return first


def _is_ours(file: Path, option: str) -> bool:
    # Only here, because reports import torch, which a command that writes a new file need not do.
    from safecompress.report.ours import is_ours

    return is_ours(file, option)
