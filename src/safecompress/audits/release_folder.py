"""`require_release_folder`, `finish_release`, `kept_back`: the folder of a release.

A release replaces only what a release wrote and nobody changed. `SHA256SUMS` is put into place
last, so a folder whose files agree with it holds one whole release. Until then the sums have
another name, by which the files of a release that was killed are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safecompress.audits.results import write_results
from safecompress.checks import Status
from safecompress.errors import ConfigError, SafeCompressError, StorageError
from safecompress.export.card import model_card
from safecompress.export.job import ExportResult
from safecompress.export.shipping import worst
from safecompress.files import make_folder, read_json, sha256, write_json, write_text
from safecompress.run.folder import FIGURES, JUNIT, PROVENANCE, REPORT, SUMMARY, VERDICT
from safecompress.run.provenance import surroundings
from safecompress.verdicts.document import Overall
from safecompress.verdicts.export_document import ExportVerdict, ReleasedWith
from safecompress.verdicts.verdict import Verdict

SUMS = "SHA256SUMS"
_PLACING = f".{SUMS}.placing"
"""Name of the sums while the files are put into place."""
_STAGED = ".staged"
REFUSED = "refused"
"""Folder inside, for the documents of a release that was refused."""
_RESULTS = (VERDICT, FIGURES, JUNIT, PROVENANCE, REPORT, SUMMARY)


def kept_back(verdict: Verdict) -> bool:
    """Return whether a verdict on a set keeps its files back.

    Args:
        verdict: the joint verdict.
    """
    return verdict.status in (Status.FAIL, Status.ERROR)


def require_release_folder(
    folder: Path, files: Sequence[str], companions: Sequence[str] = (), *, force: bool
) -> None:
    """Check before any work that a release destroys nothing but an earlier release.

    Args:
        folder: folder of the release.
        files: names of its model files.
        companions: names of the files that belong to a model file and have no documents.
        force: whether files that no release wrote, or that were changed since, may be replaced.

    Raises:
        ConfigError: when something else would be lost, or files of an earlier release would stay
            beside the new ones and be taken for them.
    """
    known = _written_by_a_release(folder)
    names = [n for file in files for n in (file, f"{file}.json", f"{file}.md")]
    names += companions
    for name in (*names, *_RESULTS, SUMS):
        if (folder / name).exists() and name not in known and not force:
            raise ConfigError(
                f"out {folder}: {name} exists and was not written by a release, or was changed "
                "since; name another folder, or pass --force (force=True) to replace it."
            )
    stale = sorted(known - {*names, *_RESULTS, SUMS})
    if stale:
        raise ConfigError(
            f"out {folder}: holds a release of other formats ({stale[0]}), which would stand "
            "beside the new one unjudged; name another folder, or delete it."
        )


def finish_release(
    work: Path,
    place: Path,
    exports: Sequence[ExportResult],
    verdict: Verdict | None,
    *,
    shipped: bool,
    made_with: Mapping[str, Any],
) -> None:
    """Move files into place and write all documents, the sums last.

    Args:
        work: folder of the exported files.
        place: folder of the release, or of the documents of a refused one.
        exports: how the exports ended.
        verdict: the verdict on the set; None where a file was refused by itself.
        shipped: whether the files are put in place.
        made_with: facts for the provenance.

    Raises:
        StorageError: when a file cannot be written.
    """
    documents = {f"{e.document.file.name}{end}" for e in exports for end in (".json", ".md")}
    files = {path.name: path for path in work.iterdir() if shipped or path.name in documents}
    for done in exports:
        name = done.document.file.name
        document = _of_set(done.document, verdict, shipped=shipped)
        write_json(work / f"{name}.json", document.to_json())
        write_text(work / f"{name}.md", model_card(document))
        files |= {f"{name}{end}": work / f"{name}{end}" for end in (".json", ".md")}
    if verdict is not None:
        # The results say the name of their folder.
        results = work / _STAGED / place.resolve().name
        write_results(results, verdict, surroundings() | dict(made_with))
        files |= {name: results / name for name in _RESULTS}
    _clear((place if shipped else place.parent) / REFUSED)
    make_folder(place)
    _put(files, place)


def _put(files: Mapping[str, Path], place: Path) -> None:
    """Move files into place by name, the sums first under another name and last under their own."""
    sums = (f"{sha256(file)}  {name}\n" for name, file in sorted(files.items()))
    write_text(place / _PLACING, "".join(sums))
    moves = [(file, place / name) for name, file in sorted(files.items())]
    for file, target in (*moves, (place / _PLACING, place / SUMS)):
        try:
            file.replace(target)
        except OSError as error:
            raise StorageError(f"{target}: cannot be written ({error}).") from error


def _of_set(document: ExportVerdict, verdict: Verdict | None, *, shipped: bool) -> ExportVerdict:
    """Return a file's document with the verdict on the set that it was judged in."""
    if verdict is None:
        if document.status in (Status.FAIL, Status.ERROR):
            return document
        return document.model_copy(
            update={
                "sentence": "Not released, because another file of the release was refused. "
                f"{document.sentence}"
            }
        )
    set_of = ReleasedWith(
        files=tuple(file["name"] for file in verdict.document.to_json()["files"]),
        verdict=_overall(verdict.status),
        sentence=verdict.sentence,
    )
    update: dict[str, Any] = {"released_with": set_of}
    if kept_back(verdict):
        how = "Released although the set failed." if shipped else "Not released: the set failed."
        update |= {
            "status": worst(document.status, verdict.status),
            "sentence": f"{how} {document.sentence}",
            "despite_failure": shipped,
            "next_steps": (*verdict.document.next_steps, *document.next_steps),
        }
    return document.model_copy(update=update)


def _overall(status: Status) -> Overall:
    return status  # type: ignore[return-value] # of a whole suite


def _clear(folder: Path) -> None:
    """Remove the documents of an earlier release that was refused, unless somebody changed them."""
    for name in _unchanged(folder):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # it is not there, or holds other files
        folder.rmdir()


def _written_by_a_release(folder: Path) -> set[str]:
    """Return the names of files that an earlier release wrote and nobody changed since."""
    begun = _unchanged(folder, sums=_PLACING)
    try:
        whole = begun or read_json(folder / VERDICT)["kind"] == "joint"
    except (SafeCompressError, KeyError, TypeError):
        return set()
    return begun | (_unchanged(folder) if whole else set())


def _unchanged(folder: Path, *, sums: str = SUMS) -> set[str]:
    """Return the names of files that agree with the sums beside them, and that of the sums."""
    try:
        lines = (folder / sums).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    known = {sums} - {_PLACING}
    for line in lines:
        digest, _, name = line.partition("  ")
        path = folder / name
        if name == Path(name).name and path.is_file() and sha256(path) == digest:
            known.add(name)
    return known
