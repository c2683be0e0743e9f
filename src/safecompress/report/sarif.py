"""`sarif_log`: a verdict as SARIF 2.1.0, so that code scanning shows what is wrong with a model.

The format is the OASIS standard *Static Analysis Results Interchange Format* 2.1.0 with its errata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from safecompress.report.check_kinds import CHECK_KINDS, OTHER, VERDICT, CheckKind, kind_of
from safecompress.report.document_facts import checks_of, file_of, said_of_check, status_of
from safecompress.report.safe import LONGEST_SENTENCE, number, sequence, text
from safecompress_command import __version__

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_KINDS = (*CHECK_KINDS, OTHER, VERDICT)
_FINGERPRINT = "safecompressCheck/v1"
_VERDICT_LEVELS = {"PASS": None, "INCONCLUSIVE": "warning"}
"""By status of a verdict, the level of the result that states it where no check does."""


def sarif_log(document: Mapping[str, Any], *, artifact: str | None = None) -> str:
    """Return a verdict as the text of a SARIF log with one run.

    A critical check that failed, broke or did not run is an `error`; a critical check that is
    undecided is a `warning`; what only warns is a `note`; what passed is no result. A verdict other
    than PASS that none of these explains is a result of its own, so that the log is never empty
    where the verdict is not good.

    Args:
        document: the verdict on a run or an audited model, or the document of an exported file.
        artifact: where the model is, as a URI or as a path relative to the repository's root; None
            for the file's name as the document has it.
    """
    place = file_of(document) if artifact is None else artifact
    results = list(_results(document, place))
    status = status_of(document)
    run = {
        "tool": {"driver": _driver()},
        "artifacts": [{"location": {"uri": place_uri(place)}, "roles": ["analysisTarget"]}],
        "results": results,
        "invocations": [{"executionSuccessful": status != "ERROR"}],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": status,
            "sentence": text(document.get("sentence"), longest=LONGEST_SENTENCE),
            "scope": text(document.get("scope"), longest=LONGEST_SENTENCE),
            "standard": text(document.get("standard"), longest=LONGEST_SENTENCE),
            "limits": [text(each, longest=LONGEST_SENTENCE) for each in _limits(document)],
        },
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def place_uri(place: str | Path) -> str:
    """Return a place as a URI: relative to the working folder where it lies there.

    Args:
        place: a path, or a URI with a scheme such as `https://`, which stays as it is.

    >>> place_uri("models/a b.onnx")
    'models/a%20b.onnx'
    """
    if "://" in str(place):
        return quote(str(place), safe="/:?#[]@!$&'()*+,;=%")
    path = Path(place)
    if path.is_absolute():
        try:
            path = path.relative_to(Path.cwd())
        except ValueError:
            return path.as_uri()
    # A relative URI whose first segment has a colon would be read as one with a scheme.
    return quote(path.as_posix(), errors="replace")


def _driver() -> dict[str, Any]:
    return {
        "name": "SafeCompress",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(kind) for kind in _KINDS],
    }


def _rule(kind: CheckKind) -> dict[str, Any]:
    help_text = f"{kind.asks} {kind.remedy} More: {kind.docs}."
    return {
        "id": kind.id,
        "name": "".join(word.capitalize() for word in kind.id.split("-")),
        "shortDescription": {"text": f"{kind.title}."},
        "fullDescription": {"text": kind.asks},
        "help": {"text": help_text, "markdown": f"{kind.asks}\n\n{kind.remedy}\n\n`{kind.docs}`"},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": list(kind.tags), "documentation": kind.docs},
    }


def _results(document: Mapping[str, Any], place: str) -> Iterator[dict[str, Any]]:
    status = status_of(document)
    needed = _VERDICT_LEVELS.get(status, "error")
    levels = set()
    taken: dict[str, int] = {}
    for check in checks_of(document):
        level = level_of(check)
        if level is None:
            continue
        levels.add(level)
        name = text(check.get("name"), longest=600) or "a check without a name"
        taken[name] = taken.get(name, 0) + 1
        said = f"{name}: {text(check.get('status'), longest=40) or 'no status'}"
        if more := said_of_check(check):
            said += f"; {more}"
        # A file's document repeats checks of the run under their own names.
        key = f"{name}#{taken[name]}"
        result = _result(kind_of(check), level, said, key=key, document=document, place=place)
        yield result | {"properties": _figures(check)}
    if needed is not None and needed not in levels and "error" not in levels:
        sentence = text(document.get("sentence"), longest=LONGEST_SENTENCE)
        said = f"{status}: {sentence or 'no verdict was reached'}"
        yield _result(VERDICT, needed, said, key="verdict", document=document, place=place)


def level_of(check: Mapping[str, Any]) -> str | None:
    """Return the level of a check's result; None where it asks for nothing.

    Args:
        check: an entry of the list `checks`.
    """
    status, critical = text(check.get("status"), longest=40), check.get("critical") is not False
    if status == "PASS" or (status in {"INCONCLUSIVE", "NOT_RUN"} and not critical):
        return None
    if status == "INCONCLUSIVE":
        return "warning"
    return "note" if status == "WARN" or not critical else "error"


def _result(
    kind: CheckKind,
    level: str,
    said: str,
    *,
    key: str,
    document: Mapping[str, Any],
    place: str,
) -> dict[str, Any]:
    identity = [text(document.get("kind")), place_uri(place), kind.id, key]
    return {
        "ruleId": kind.id,
        "ruleIndex": _KINDS.index(kind),
        "level": level,
        "message": {"text": said},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": place_uri(place), "index": 0},
                    # A model has no lines, and GitHub shows no result without one.
                    "region": {"startLine": 1},
                }
            }
        ],
        "partialFingerprints": {
            _FINGERPRINT: hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        },
    }


def _figures(check: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a check that are known, for tools that read results."""
    named = {name: number(check.get(name)) for name in ("value", "low", "high")}
    known: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    known |= {"status": text(check.get("status"), longest=40)}
    if attack := text(check.get("attack")):
        known["attack"] = attack
    return known


def _limits(document: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(sequence(document.get("limits"))[:60])
