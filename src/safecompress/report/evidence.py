"""`Evidence`, `read_evidence`, `digests_of`: a verdict document with what lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safecompress.errors import DataError, RunFolderError
from safecompress.files import read_json, sha256
from safecompress.report.document_facts import file_of
from safecompress.report.folder import read_folder
from safecompress.report.safe import mapping, text

_MODEL, _DENSE = "model.safetensors", "dense.safetensors"


@dataclass(frozen=True)
class Evidence:
    """A verdict, and where it is from.

    Args:
        name: name of the folder or of the exported file.
        document: the verdict on a run or an audited model, or the document of an exported file.
        provenance: the contents of provenance.json; of an exported file, what it was made with.
        artifact: path of the judged file as it was given, or its name where no path is known.
        dense_sha256: SHA-256 of the dense model's file beside the verdict; empty where there is
            none.
    """

    name: str
    document: Mapping[str, Any]
    provenance: Mapping[str, Any]
    artifact: str
    dense_sha256: str = ""


def digests_of(evidence: Evidence) -> dict[str, str]:
    """Return the SHA-256 of the judged files by name; none where they are not known.

    Args:
        evidence: the verdict.
    """
    document, audited = evidence.document, mapping(evidence.provenance.get("audited"))
    name, file = Path(evidence.artifact).name, mapping(document.get("file")).get("name")
    if file is not None:
        found: Mapping[str, object] = {text(file): mapping(document.get("sha256")).get(file)}
    elif isinstance(audited.get("sha256"), Mapping):
        found = mapping(audited.get("sha256"))
    elif "sha256" in audited:
        found = {name: audited.get("sha256")}
    else:
        found = {key: mapping(entry).get("sha256") for key, entry in audited.items()}
    found = found or {name: mapping(document.get("model")).get("sha256")}
    return {text(key): text(digest) for key, digest in found.items() if text(digest)}


def read_evidence(path: Path) -> Evidence:
    """Read a verdict from the folder of a run or an audit, or from the JSON beside an export.

    Args:
        path: a folder, or the document `FILE.json` of an exported file.

    Raises:
        RunFolderError: when there is no verdict, or the file is none.
        DataError: when the file is no JSON.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise RunFolderError(
            f"{path}: no such folder or file; name a run folder, or the FILE.json "
            "beside an exported file."
        )
    try:
        document = mapping(read_json(path))
    except RecursionError as error:
        raise DataError(f"{path}: nested too deep for a verdict.") from error
    if document.get("kind") != "export":
        raise RunFolderError(
            f"{path}: not the document of an exported file (kind: export); name the folder of a "
            "run or an audit, or the FILE.json beside an export."
        )
    file = path.with_name(file_of(document))
    return Evidence(
        name=file.name,
        document=document,
        provenance=mapping(document.get("made_with")),
        artifact=str(file),
    )


def _of_folder(folder: Path) -> Evidence:
    files = read_folder(folder)
    model, dense = folder / _MODEL, folder / _DENSE
    audited = mapping(files.provenance.get("audited"))
    named = text(audited.get("file") or audited.get("model")) or file_of(files.verdict)
    return Evidence(
        name=files.name,
        document=files.verdict,
        provenance=files.provenance,
        artifact=str(model) if model.is_file() else named,
        dense_sha256=sha256(dense) if dense.is_file() else "",
    )
