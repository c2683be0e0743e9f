"""A PASS that does not follow from a file's own checks is refused, by whatever reads the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given

from safecompress import audit
from safecompress.errors import RunFolderError
from safecompress.report import write_report
from safecompress.verdict_agreement import contradiction
from safecompress.verdicts.parts import CheckEntry
from safecompress.verdicts.read import read_verdict
from tests.imagined_verdicts import checks, controls, judged
from tests.recorded_outputs import arrays, saved


@given(asked=checks(), held=controls())
def test_only_a_pass_that_the_checks_add_up_to_is_believed(asked, held) -> None:
    finding = judged(asked, held)
    entries = [CheckEntry.of(result).to_json() for result in finding.checks]
    document = {"kind": "audit", "verdict": str(finding.status), "checks": entries}
    assert contradiction(document) == ""
    claimed = document | {"verdict": "PASS"}
    assert (contradiction(claimed) == "") == (finding.status == "PASS")


@pytest.mark.parametrize("damage", [None, [], {}, "text", [None, 3, {"critical": True}]])
def test_damaged_checks_are_no_pass(damage: object) -> None:
    document = {"kind": "joint", "verdict": "PASS", "checks": damage}
    expected = "" if damage == [None, 3, {"critical": True}] else "has no critical check"
    assert expected in contradiction(document)
    assert contradiction(document | {"verdict": "FAIL"}) == ""


def test_an_edited_verdict_is_neither_read_nor_shown(tmp_path: Path) -> None:
    audit(saved(tmp_path, arrays(300, leak=3.0)), out=tmp_path / "audited", attacks=["loss"])
    path = tmp_path / "audited" / "verdict.json"
    assert read_verdict(path).verdict == "FAIL"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdict": "PASS"}))
    with pytest.raises(RunFolderError, match="says PASS, but its critical check"):
        read_verdict(path)
    with pytest.raises(RunFolderError, match="changed after it was written"):
        write_report(tmp_path / "audited")
