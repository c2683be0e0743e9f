"""Every verdict document that the tests produce, held against the committed schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from safecompress.verdicts.document import VerdictDocument
from tests.documents import ROOT

SCHEMA = ROOT / "docs" / "verdict.schema.json"


def closed(schema: Any) -> Any:
    """Return a schema without room for fields that it does not name.

    Readers leave room for later releases; what this release writes is in its own schema.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    return found | ({"additionalProperties": False} if "properties" in found else {})


@cache
def _validators() -> dict[str, Draft202012Validator]:
    """Return a validator for each kind: of five branches that all fail, messages would mislead."""
    schema = closed(json.loads(SCHEMA.read_text()))
    Draft202012Validator.check_schema(schema)
    return {
        kind: Draft202012Validator({"$defs": schema["$defs"], "$ref": reference})
        for kind, reference in schema["discriminator"]["mapping"].items()
    }


def complaint(document: Any) -> str:
    """Return what the committed schema has against a JSON document; nothing where it is valid."""
    validator = _validators().get(document.get("kind"))
    if validator is None:
        return f"kind is {document.get('kind')!r}"
    error = best_match(validator.iter_errors(document))
    return "" if error is None else f"{error.json_path}: {error.message}"


def watch_() -> None:
    """Validate each document as soon as it is made, written or not."""
    make = VerdictDocument.__init__

    def made(self: VerdictDocument, **fields: Any) -> None:
        make(self, **fields)
        found = self.to_json()
        json.dumps(found, allow_nan=False)
        if wrong := complaint(found):
            raise AssertionError(f"{type(self).__name__} against {SCHEMA.name}: {wrong}")

    made.__pydantic_base_init__ = True
    VerdictDocument.__init__ = made
