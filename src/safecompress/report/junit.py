"""`junit_xml`: the verdict as JUnit XML, so that CI shows a model's checks among its tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from safecompress.report.document_facts import checks_of, said_of_check, status_of
from safecompress.report.safe import mapping, number, sequence, text
from safecompress.report.view_set import set_lines, set_view

# XML 1.0 forbids these characters, even escaped (production Char).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PROPERTIES = ("verdict", "sentence", "looks", "level", "scope", "standard", "schema_version")


def junit_xml(verdict: Mapping[str, Any], *, name: str) -> str:
    """Return the verdict as one JUnit test suite with one test case per check.

    FAIL becomes a failure; ERROR, a critical NOT_RUN and an unknown status become an error;
    INCONCLUSIVE and other NOT_RUN are skipped; WARN passes with its message as output. If no check
    explains a verdict of FAIL or ERROR, the verdict becomes a test case of its own, so that the
    suite does not pass.

    Args:
        verdict: the document of verdict.json, or of an exported file.
        name: name of the suite, for example that of the run folder.
    """
    checks = checks_of(verdict)
    suite = ET.Element("testsuite", name=_clean(name) or "safecompress")
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(verdict).items():
        ET.SubElement(properties, "property", name=key, value=_clean(value))
    total = 0.0
    for index, check in enumerate(checks):
        total += _add_check(suite, check, classname=_clean(name) or "safecompress", index=index)
    _add_verdict(suite, verdict, classname=_clean(name) or "safecompress")
    suite.set("tests", str(len(suite.findall("testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{total:.3f}")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _properties(verdict: Mapping[str, Any]) -> dict[str, object]:
    model = mapping(verdict.get("model"))
    properties = {key: verdict.get(key) for key in _PROPERTIES} | {"verdict": status_of(verdict)}
    for name in ("next_steps", "remarks"):
        sentences = [text(item, longest=2000) for item in sequence(verdict.get(name))]
        properties[name] = " ".join(filter(None, sentences)) or None
    properties |= {f"held.{held}": f"{auc} by {attack}" for held, attack, auc in set_lines(verdict)}
    properties |= {f"model.{k}": model.get(k) for k in ("name", "density", "nonzeros", "accuracy")}
    files = set_view(verdict)
    properties |= {"newly_exposed_by_set": files.exposed if files else None}
    properties |= {"threat_model": mapping(verdict.get("threat_model")).get("kind")}
    return {key: value for key, value in properties.items() if value is not None}


def _add_check(suite: ET.Element, check: Mapping[str, Any], *, classname: str, index: int) -> float:
    """Append one check's test case; return its seconds."""
    seconds = max(number(check.get("seconds")) or 0.0, 0.0)
    case = ET.SubElement(
        suite,
        "testcase",
        classname=classname,
        name=_clean(check.get("name")) or f"check {index + 1}",
        time=f"{seconds:.3f}",
    )
    status = text(check.get("status"), longest=40)
    message = _clean(said_of_check(check))
    critical = check.get("critical") is not False
    if status == "FAIL":
        _outcome(case, "failure", message, kind=status)
    elif status == "INCONCLUSIVE" or (status == "NOT_RUN" and not critical):
        ET.SubElement(case, "skipped", message=f"{status}: {message}")
    elif status == "WARN":
        ET.SubElement(case, "system-out").text = f"WARN: {message}"
    elif status != "PASS":
        _outcome(case, "error", message, kind=status or "unknown status")
    return seconds


def _add_verdict(suite: ET.Element, verdict: Mapping[str, Any], *, classname: str) -> None:
    status = status_of(verdict)
    reported = suite.findall("testcase/failure") or suite.findall("testcase/error")
    if reported or status in {"PASS", "INCONCLUSIVE"}:
        return
    case = ET.SubElement(suite, "testcase", classname=classname, name="verdict", time="0.000")
    message = _clean(verdict.get("sentence")) or "no verdict was reached"
    _outcome(case, "failure" if status == "FAIL" else "error", message, kind=status)


def _outcome(case: ET.Element, tag: str, message: str, *, kind: str) -> None:
    ET.SubElement(case, tag, message=message, type=_clean(kind)).text = message


def _clean(value: object) -> str:
    return _NOT_XML.sub("", text(value, longest=4000))
