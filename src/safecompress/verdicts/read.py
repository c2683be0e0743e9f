"""`read_document` and `read_verdict`: read verdict documents from JSON into their types.

The report reads untyped JSON instead, to show as much as it can of damaged or newer files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from safecompress.errors import DataError, RunFolderError, did_you_mean
from safecompress.files import read_json
from safecompress.verdict_agreement import contradiction
from safecompress.verdict_names import SCHEMA_VERSION
from safecompress.verdicts.comparison_document import CohortTable, RunTable
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.export_document import ExportVerdict
from safecompress.verdicts.joint_document import JointVerdict

Document: TypeAlias = (
    CompressVerdict | AuditVerdict | JointVerdict | ExportVerdict | CohortTable | RunTable
)
"""Every kind of document."""
KINDS: Mapping[str, type[Document]] = {
    "compress": CompressVerdict,
    "audit": AuditVerdict,
    "joint": JointVerdict,
    "export": ExportVerdict,
    "comparison": CohortTable,
    "runs": RunTable,
}
"""The types of documents by the value of their field `kind`."""


def read_document(value: object) -> Document:
    """Read a document from JSON.

    Args:
        value: parsed JSON; unknown fields are ignored.

    Raises:
        DataError: when it is of another version or kind, a field is missing or of another type, or
            its checks do not add up to the PASS that it says.
    """
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {type(value).__name__}.")
    version, kind = value.get("schema_version"), value.get("kind")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"schema_version: {version!r}; this release reads {SCHEMA_VERSION}. Read it with the "
            "release that wrote it."
        )
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"kind: {kind!r} is none{did_you_mean(str(kind), KINDS)}.")
    document = KINDS[kind].from_json(value)
    if why := contradiction(value):
        raise DataError(f"{why}; the file was changed after it was written.")
    return document


def read_verdict(path: Path) -> CompressVerdict | AuditVerdict:
    """Read the `verdict.json` of a run or an audit.

    Args:
        path: the file.

    Raises:
        RunFolderError: when it is missing, damaged, or no verdict on a model.
    """
    try:
        result = read_document(read_json(path))
    except DataError as error:
        raise RunFolderError(
            f"{path}: not a verdict that can be read ({error}); judge the model again."
        ) from error
    if not isinstance(result, CompressVerdict | AuditVerdict):
        raise RunFolderError(
            f"{path}: a document of kind '{result.kind}'; expected the verdict of a run or an "
            "audit."
        )
    return result
