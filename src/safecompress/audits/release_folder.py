"""`require_release_folder`, `finish_release`, `kept_back`: the folder of a release.

A release replaces only what a release wrote and nobody changed. `SHA256SUMS` is written last, so a
folder whose files agree with it holds one whole release.
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
    _clear((place if shipped else place.parent) / REFUSED)
    make_folder(place)
    names = _moved(work, place, exports) if shipped else []
    for done in exports:
        name = done.document.file.name
        document = _of_set(done.document, verdict, shipped=shipped)
        write_json(place / f"{name}.json", document.to_json())
        write_text(place / f"{name}.md", model_card(document))
        names += [f"{name}.json", f"{name}.md"]
    if verdict is not None:
        facts = surroundings() | dict(made_with)
        write_results(place, verdict, facts)
        names += _RESULTS
    sums = (f"{sha256(place / name)}  {name}\n" for name in sorted(names))
    write_text(place / SUMS, "".join(sums))


def _moved(work: Path, place: Path, exports: Sequence[ExportResult]) -> list[str]:
    """Move everything that the exports wrote but their documents, and return the names."""
    documents = {f"{e.document.file.name}{end}" for e in exports for end in (".json", ".md")}
    names = sorted(path.name for path in work.iterdir() if path.name not in documents)
    for name in names:
        try:
            (work / name).replace(place / name)
        except OSError as error:
            raise StorageError(f"{place / name}: cannot be written ({error}).") from error
    return names


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
    try:
        if read_json(folder / VERDICT)["kind"] != "joint":
            return set()
    except (SafeCompressError, KeyError, TypeError):
        return set()
    return _unchanged(folder)


def _unchanged(folder: Path) -> set[str]:
    """Return the names of files that agree with the sums beside them, and that of the sums."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    known = {SUMS}
    for line in lines:
        digest, _, name = line.partition("  ")
        path = folder / name
        if name == Path(name).name and path.is_file() and sha256(path) == digest:
            known.add(name)
    return known
