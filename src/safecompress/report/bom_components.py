"""`data_of`, `libraries_of`, `hashes_of`: what a bill of materials lists beside the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from safecompress.report.evidence import Evidence
from safecompress.report.safe import mapping, number, text

_DIGEST = re.compile("[0-9a-f]{64}")
_LIBRARIES = ("torch", "numpy", "scipy")


def data_of(evidence: Evidence) -> list[dict[str, Any]]:
    """Return a component for every group of rows, and for recorded outputs that were audited.

    Args:
        evidence: the verdict with what lies beside it.
    """
    return [*_groups(evidence), *_outputs(evidence)]


def libraries_of(evidence: Evidence) -> list[dict[str, Any]]:
    """Return a component for every library whose version is recorded.

    Args:
        evidence: the verdict with what lies beside it.
    """
    versions = {name: text(evidence.provenance.get(name)) for name in _LIBRARIES}
    return [
        {
            "type": "library",
            "bom-ref": f"library:{name}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version.partition('+')[0]}",
        }
        for name, version in versions.items()
        if version
    ]


def hashes_of(digest: object) -> dict[str, Any]:
    """Return the field `hashes` with a SHA-256; empty where it is none.

    Args:
        digest: 64 hexadecimal digits, or any other JSON.
    """
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return {}
    return {"hashes": [{"alg": "SHA-256", "content": digest}]}


def _groups(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Return a component for every group of rows, with its digest and its size where known."""
    document, made = evidence.document, evidence.provenance
    digests = dict(mapping(made.get("splits")))
    if sealed := mapping(document.get("sha256")).get("sealed rows"):
        digests.setdefault("sealed", sealed)
    sizes = mapping(mapping(made.get("data")).get("sizes")) or mapping(document.get("data"))
    if not sizes:
        power = mapping(document.get("power"))
        sizes = {
            f"judged.{side}": power.get(f"n_{side}")
            for side in ("members", "nonmembers")
            if number(power.get(f"n_{side}"))
        }
    groups = dict.fromkeys(text(name).partition(".")[0] for name in (*digests, *sizes))
    for group in filter(None, groups):
        parts = {
            text(name): text(size)
            for name, size in sizes.items()
            if text(name).partition(".")[0] == group and text(size) not in {"", "0"}
        }
        hashes = hashes_of(digests.get(group))
        if not parts and not hashes:
            continue
        rows = [{"name": f"safecompress:rows:{n}", "value": of} for n, of in parts.items()]
        yield {
            "type": "data",
            "bom-ref": f"data:{group}",
            "name": f"rows: {group}",
            **hashes,
            "data": [{"type": "dataset", "name": group, "contents": {"properties": rows}}],
        }


def _outputs(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Return the file of recorded outputs that was audited in place of a model, if it was one."""
    audited = mapping(evidence.provenance.get("audited"))
    if hashes := hashes_of(audited.get("sha256")):
        name = text(audited.get("file")) or "recorded outputs"
        yield {
            "type": "data",
            "bom-ref": "data:outputs",
            "name": f"recorded outputs: {name}",
            **hashes,
        }
