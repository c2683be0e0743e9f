"""`contradiction`: whether a verdict that was read says PASS where its own checks do not.

People act on the one word. A file that was edited or damaged must not turn a FAIL into a PASS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = frozenset({"compress", "audit", "joint"})
_HINDERS = frozenset({"FAIL", "ERROR", "INCONCLUSIVE"})
"""Statuses of a critical check or control with which no verdict is PASS."""
_CONTROL = "control:"


def contradiction(document: Mapping[str, Any]) -> str:
    """Return why a document's PASS does not follow from its checks; empty where it does.

    Any other verdict, and documents that are not of a judged model, are taken at their word.

    Args:
        document: parsed JSON of a `verdict.json`; it may be damaged in any way.
    """
    if document.get("verdict") != "PASS" or document.get("kind") not in _KINDS:
        return ""
    checks = document.get("checks")
    entries = [c for c in checks if isinstance(c, Mapping)] if isinstance(checks, list) else []
    critical = [c for c in entries if c.get("critical") is True]
    for entry in critical:
        name, status = str(entry.get("name")), entry.get("status")
        if status in _HINDERS or (status == "NOT_RUN" and not name.startswith(_CONTROL)):
            return f"it says PASS, but its critical check '{name}' says {status}"
    if not any(not str(c.get("name")).startswith(_CONTROL) for c in critical):
        return "it says PASS, but has no critical check"
    return ""
