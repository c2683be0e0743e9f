"""The JSON schema of verdict documents: `python -m safecompress.verdicts.schema FILE` writes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from safecompress.files import write_json
from safecompress.verdict_names import SCHEMA_VERSION
from safecompress.verdicts.read import Document


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of every kind of document, told apart by `kind`."""
    documents = TypeAdapter[Document](Annotated[Document, Field(discriminator="kind")])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"SafeCompress verdict documents, schema version {SCHEMA_VERSION}",
        "description": "verdict.json of runs and audits, FILE.json of exports, table.json of "
        "comparisons. Fields may be added within a version: ignore those you do not know.",
        **documents.json_schema(),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m safecompress.verdicts.schema FILE")
    write_json(Path(sys.argv[1]), json_schema())
