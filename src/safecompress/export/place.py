"""`require_place` and `put`: where an exported file goes, and what stands there already.

An export replaces only what an export wrote. A file that is refused leaves what was there. While
files are put into place a note beside them holds their digests, so that an export that was killed
meanwhile is told from somebody else's file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safecompress.errors import ConfigError, SafeCompressError
from safecompress.export.card import model_card
from safecompress.files import (
    read_json,
    require_file,
    sha256,
    write_bytes,
    write_json,
    write_text,
)
from safecompress.run.folder import CONFIG
from safecompress.verdicts.export_document import ExportVerdict

REFUSED = ".refused"
"""What the names of the documents of a refused file hold where an older file keeps its own."""
_PLACING = "placing"


def require_place(paths: Sequence[Path], *, force: bool) -> None:
    """Check before any work that a file can be written without destroying anything.

    Args:
        paths: the file, whose documents are `PATH.json` and `PATH.md`, and its companions.
        force: whether files that no export wrote may be replaced. Those of a run folder never are.

    Raises:
        ConfigError: when nothing can be written there, or something else would be lost.
    """
    path, *companions = paths
    for place in paths:
        require_file(place, option="out")
    for file in (path, *companions, *_documents(path)):
        if not file.exists() or _exported(path, file if file in companions else path):
            continue
        if (file.parent / CONFIG).is_file():
            raise ConfigError(
                f"out {path}: {file.name} belongs to the run in {file.parent} and would be lost; "
                "name another file."
            )
        if not force:
            raise ConfigError(
                f"out {path}: {file.name} exists and was not written by an export, or was changed "
                "since; name another file, or pass --force (force=True) to replace it."
            )


def put(path: Path, files: Mapping[Path, bytes] | None, document: ExportVerdict) -> None:
    """Write an exported file with its documents, or the documents alone.

    Args:
        path: the file.
        files: its bytes and those of its companions, by their paths; None where it is not
            shipped. An older file then stays as it is, with its documents, and the new ones are
            `PATH.refused.json` and `PATH.refused.md`.
        document: what is known of the new file.

    Raises:
        StorageError: when a file cannot be written.
    """
    beside, note = path, _note(path)
    if files is not None:
        write_json(note, {"kind": _PLACING, "sha256": document.sha256})
        for place, part in files.items():
            write_bytes(place, part)
    elif path.exists():
        beside = path.with_name(f"{path.name}{REFUSED}")
    data, card = _documents(beside)
    write_json(data, document.to_json())
    write_text(card, model_card(document))
    if files is not None:
        note.unlink(missing_ok=True)


def documents_of(path: Path, *, shipped: bool) -> tuple[Path, Path]:
    """Return where the JSON document and the card of an export are.

    Args:
        path: the file.
        shipped: whether it was put in place.
    """
    refused = path.with_name(f"{path.name}{REFUSED}")
    return _documents(refused if not shipped and path.exists() else path)


def _documents(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.md")


def _note(path: Path) -> Path:
    """Return where the digests of files are while they are put into place."""
    return path.with_name(f".{path.name}.{_PLACING}")


def _exported(path: Path, file: Path) -> bool:
    """Return whether an export to a path wrote a file, or none is there.

    The document says so, or the note of an export that was killed.
    """
    data, _ = _documents(path)
    records = ((data, "export"), (_note(path), _PLACING))
    return any(_wrote(record, kind, file) for record, kind in records)


def _wrote(record: Path, kind: str, file: Path) -> bool:
    try:
        said = read_json(record)
        if said["kind"] != kind:
            return False
        return not file.exists() or said["sha256"].get(file.name) == sha256(file)
    except (SafeCompressError, OSError, KeyError, TypeError, AttributeError):
        return False
