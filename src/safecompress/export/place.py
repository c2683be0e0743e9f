"""`require_place` and `put`: where an exported file goes, and what stands there already.

An export replaces only what an export wrote. A file that is refused leaves what was there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safecompress.errors import ConfigError, SafeCompressError
from safecompress.export.card import model_card
from safecompress.files import read_json, require_file, sha256, write_bytes, write_json, write_text
from safecompress.run.folder import CONFIG
from safecompress.verdicts.export_document import ExportVerdict

REFUSED = ".refused"
"""What the names of the documents of a refused file hold where an older file keeps its own."""


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
    beside = path
    if files is not None:
        for place, part in files.items():
            write_bytes(place, part)
    elif path.exists():
        beside = path.with_name(f"{path.name}{REFUSED}")
    data, card = _documents(beside)
    write_json(data, document.to_json())
    write_text(card, model_card(document))


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


def _exported(path: Path, file: Path) -> bool:
    """Return whether an export to a path wrote a file, or none is there: the document says so."""
    data, _ = _documents(path)
    try:
        document = read_json(data)
        if document["kind"] != "export":
            return False
        return not file.exists() or document["sha256"].get(file.name) == sha256(file)
    except (SafeCompressError, OSError, KeyError, TypeError, AttributeError):
        return False
