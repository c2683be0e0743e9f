"""JUnit XML: always parses, counts add up, nothing red looks green."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.report import junit_xml
from tests.report_fixture import NOTHING, check, checks, span, verdict

HOSTILE = "</testcase><x a='1'>]]>&\x00\x0b\x1b\ud800\ufffe\U0001f512\u202e"


def suite_of(document: dict[str, Any], *, name: str = "run-1") -> ET.Element:
    root = ET.fromstring(junit_xml(document, name=name).encode())
    suites = root.findall("testsuite")
    assert root.tag == "testsuites"
    assert len(suites) == 1
    return suites[0]


def outcome(case: ET.Element) -> str:
    found = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
    assert len(found) <= 1
    return found[0] if found else "passed"


def test_one_case_per_check_with_time_and_class() -> None:
    suite = suite_of(verdict())
    cases = suite.findall("testcase")
    assert [c.get("name") for c in cases] == [c["name"] for c in checks()]
    assert {c.get("classname") for c in cases} == {"run-1"}
    assert [c.get("time") for c in cases] == [f"{c['seconds']:.3f}" for c in checks()]
    assert suite.get("tests") == str(len(checks()))


@pytest.mark.parametrize(
    ("status", "critical", "expected"),
    [
        ("PASS", True, "passed"), ("WARN", False, "passed"), ("FAIL", True, "failure"),
        ("FAIL", False, "failure"), ("ERROR", True, "error"), ("ERROR", False, "error"),
        ("NOT_RUN", True, "error"), ("NOT_RUN", False, "skipped"),
        ("INCONCLUSIVE", True, "skipped"), ("INCONCLUSIVE", False, "skipped"),
        ("UNHEARD-OF", True, "error"), (None, False, "error"),
    ],
)  # fmt: skip
def test_statuses(status: str | None, critical: bool, expected: str) -> None:
    one = check("a", "PASS", span(0.61, 0.02), critical=critical, message="because")
    suite = suite_of(verdict("PASS") | {"checks": [one | {"status": status}]})
    (case,) = suite.findall("testcase")
    assert outcome(case) == expected
    if expected != "passed":
        message = case[0].get("message") or ""
        assert "measured 0.61 [0.59, 0.63]" in message
        assert "wanted ≤ 0.6" in message
        assert "because" in message
    if status == "WARN":
        assert "because" in (case.findtext("system-out") or "")
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert suite.get(attribute) == str(int(kind == expected))


@pytest.mark.parametrize(
    ("status", "expected"),
    [("FAIL", "failure"), ("ERROR", "error"), (None, "error"), ("NEW", "error")],
)
@pytest.mark.parametrize("inside", [[], [check("a", "PASS", span(0.5, 0.1))]])
def test_a_bad_verdict_never_looks_green(
    status: str | None, expected: str, inside: list[dict[str, Any]]
) -> None:
    suite = suite_of({"verdict": status, "checks": inside, "sentence": "no good"})
    case = suite.findall("testcase")[-1]
    assert case.get("name") == "verdict"
    assert outcome(case) == expected
    assert suite.get("tests") == str(len(inside) + 1)


@pytest.mark.parametrize("status", ["PASS", "INCONCLUSIVE"])
def test_a_verdict_that_is_not_red_adds_no_case(status: str) -> None:
    one = [check("a", "INCONCLUSIVE", NOTHING)]
    assert len(suite_of({"verdict": status, "checks": one}).findall("testcase")) == 1


def test_properties_state_the_verdict() -> None:
    found = {p.get("name"): p.get("value") for p in suite_of(verdict()).iter("property")}
    assert found["verdict"] == "FAIL"
    assert found["sentence"] == verdict()["sentence"]
    assert found["looks"] == "2"
    assert found["threat_model"] == "compressed"
    assert found["model.density"] == "0.0998"


def test_hostile_strings_stay_strings() -> None:
    one = check(f"n{HOSTILE}", "FAIL", span(0.7, 0.1), message=HOSTILE, condition=HOSTILE)
    suite = suite_of({"verdict": HOSTILE, "sentence": HOSTILE, "checks": [one]}, name=HOSTILE)
    assert {e.tag for e in suite.iter()} == {
        "testsuite", "properties", "property", "testcase", "failure",
    }  # fmt: skip
    assert "</testcase><x a='1'>]]>&" in (suite.find("testcase").get("name") or "")  # type: ignore[union-attr]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["name", "status", "critical", "value", "low", "seconds", "message"])


@settings(max_examples=40)
@given(st.lists(st.dictionaries(keys, anything), max_size=3), anything, st.text())
def test_anything_gives_xml(found: list[dict[str, Any]], odd: Any, name: str) -> None:
    suite = suite_of({"verdict": odd, "sentence": odd, "checks": found, "model": odd}, name=name)
    cases = suite.findall("testcase")
    assert int(suite.get("tests") or -1) == len(cases) >= len(found)
    assert any(outcome(c) in {"failure", "error"} for c in cases) or odd in {"PASS", "INCONCLUSIVE"}


@pytest.mark.parametrize("odd", [None, [], {}, "text", 3])
def test_odd_lists_of_checks(odd: object) -> None:
    assert outcome(suite_of({"verdict": "ERROR", "checks": odd}).findall("testcase")[0]) == "error"
