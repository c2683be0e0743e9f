"""`require_results_folder` and `write_results`: the folder of an audit's results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safecompress.errors import RunFolderError, StorageError
from safecompress.files import make_folder, require_folder, write_json, write_text
from safecompress.report import junit_xml, write_report
from safecompress.run.folder import CONFIG, FIGURES, JUNIT, PROVENANCE, VERDICT
from safecompress.verdicts.verdict import Verdict


def require_results_folder(folder: Path | None) -> None:
    """Check before any work that results can be written to a folder.

    Args:
        folder: the folder; None where nothing is written.

    Raises:
        RunFolderError: when it holds a run.
        ConfigError: when it cannot be written.
    """
    if folder is None:
        return
    if (folder / CONFIG).exists():
        raise RunFolderError(
            f"{folder}: holds a run, whose verdict stays its own; choose another out."
        )
    require_folder(folder, option="out")


def write_results(folder: Path, verdict: Verdict, made_with: Mapping[str, Any]) -> None:
    """Write the verdict, its figures, its reports and its provenance.

    Args:
        folder: the folder; results of an earlier audit in it are replaced.
        verdict: the verdict.
        made_with: the contents of `provenance.json`.

    Raises:
        StorageError: when a file cannot be written; names the verdict, for the work is done.
    """
    try:
        make_folder(folder)
        write_json(folder / PROVENANCE, made_with)
        write_json(folder / FIGURES, verdict.figures)
        document = verdict.document.to_json()
        write_json(folder / VERDICT, document)
        write_text(folder / JUNIT, junit_xml(document, name=folder.resolve().name))
        write_report(folder)
    except StorageError as error:
        raise StorageError(
            f"{error} The verdict was {verdict.status}: {verdict.sentence}"
        ) from error
