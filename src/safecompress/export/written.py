"""`written`, `files_of`, `facts_in`: a format's bytes, where they stand, and the facts in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safecompress.errors import ModelError, PartError, blaming
from safecompress.export.context import ExportContext
from safecompress.export.format import Format
from safecompress.files import write_bytes


def written(form: Format, context: ExportContext, given: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file after checking that they are bytes.

    Args:
        form: the format.
        context: what is written.
        given: facts that go into the file, by name.

    Raises:
        PartError: when the format returns something else.
    """
    with blaming(form, f"export: the format '{form.name}'"):
        content: Any = form.write(context, given)
    if not isinstance(content, bytes):
        raise PartError(
            f"export: the format '{form.name}' ({type(form).__module__}) wrote "
            f"{type(content).__name__}; expected bytes."
        )
    return content


def files_of(form: Format, path: Path, content: bytes) -> dict[Path, bytes]:
    """Return the bytes of a file and of its companions, the file last, by their paths.

    Args:
        form: the format.
        path: the file.
        content: what the format wrote.

    Raises:
        PartError: when the format splits its content into other parts than it has files.
    """
    with blaming(form, f"export: the format '{form.name}'"):
        parts = form.split(content)
    paths = paths_of(form, path)
    if len(parts) != len(paths) or b"".join(parts) != content:
        raise PartError(
            f"export: the format '{form.name}' ({type(form).__module__}) splits its content into "
            f"{len(parts)} parts; expected {len(paths)} that make up the whole."
        )
    # The file comes last: while it is not there, neither is the export.
    return dict(reversed(list(zip(paths, parts, strict=True))))


def paths_of(form: Format, path: Path) -> tuple[Path, ...]:
    """Return the paths of a file and of its companions, the file first.

    Args:
        form: the format.
        path: the file.
    """
    return (path, *(path.with_suffix(suffix) for suffix in form.companions))


def write_files(form: Format, path: Path, content: bytes) -> None:
    """Write a file and its companions.

    Args:
        form: the format.
        path: the file.
        content: what the format wrote.

    Raises:
        PartError: as `files_of`.
        StorageError: when a file cannot be written.
    """
    for place, part in files_of(form, path, content).items():
        write_bytes(place, part)


def facts_in(file: Path, form: Format, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a file just written holds.

    Args:
        file: the file.
        form: its format.
        given: the facts that it was written with, by name.

    Raises:
        ModelError: when the format lost one of the facts that it was given.
    """
    with blaming(form, f"export: the format '{form.name}'"):
        facts = dict(form.verify(file))
    lost = [name for name, fact in given.items() if name not in facts or facts[name] != fact]
    if lost:
        raise ModelError(
            f"export: a file of the format {form.name} does not hold the facts it was written "
            f"with ({', '.join(lost)}); its `verify` must return those that `write` was given."
        )
    return facts
