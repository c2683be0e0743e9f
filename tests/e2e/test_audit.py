"""`safecompress audit` on recorded outputs: verdicts, exit codes, limits and files."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest

from safecompress import Limits, audit
from safecompress.errors import UsageError
from tests.recorded_outputs import Arrays, arrays, code, run, saved, with_references


@pytest.mark.parametrize(
    ("found", "status", "expected"),
    [
        (arrays(leak=2.0), "FAIL", 1),
        (arrays(), "PASS", 0),
        (arrays(rows=12), "INCONCLUSIVE", 3),
        (arrays(rows=1), "INCONCLUSIVE", 3),
    ],
    ids=["planted", "null", "tiny", "one row each"],
)
def test_verdict_exit_code_and_files(
    tmp_path: Path, found: Arrays, status: str, expected: int
) -> None:
    out = tmp_path / "out"
    result = run(saved(tmp_path, found), "--out", out)
    assert code(result) == expected, result.output
    document = json.loads((out / "verdict.json").read_text())
    assert document["verdict"] == status
    assert document["kind"] == "audit"
    assert status in result.output
    for name in ("report.html", "junit.xml", "figures.json", "provenance.json"):
        assert (out / name).stat().st_size
    page = html.unescape((out / "report.html").read_text())
    assert "is missing" not in page
    assert "sealed" not in page.split("<main>")[1].replace("sealed rows were", "")
    assert ("Members most exposed" in page) == bool(document["exposed"]["members"])
    assert document["scope"] in page


def test_probabilities_give_what_their_logarithms_give(tmp_path: Path) -> None:
    """Other logits tell more: the level that all logits of an answer have in common."""
    found = arrays(leak=0.6)
    probabilities = dict(found)
    for group in ("member", "nonmember"):
        z = found[f"{group}_logits"].astype(np.float64)
        found[f"{group}_logits"] = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        probabilities[f"{group}_logits"] = np.exp(found[f"{group}_logits"])
    ours = audit(saved(tmp_path, found)).verdict.document.to_json()
    theirs = audit(saved(tmp_path, probabilities, "probabilities")).verdict.document.to_json()
    assert ours["model"]["outputs"] == "logits"
    assert theirs["model"]["outputs"] == "probabilities"
    for a, b in zip(ours["checks"], theirs["checks"], strict=True):
        # The neural attacker reads float32 logits; the shift of a row changes their last digits.
        assert a["value"] == pytest.approx(b["value"], abs=2e-3)


def test_reference_models_find_what_metrics_do_not(tmp_path: Path) -> None:
    document = audit(saved(tmp_path, with_references(leak=1.2))).verdict.document.to_json()
    values = {c["name"].split(" ")[0]: c["value"] for c in document["checks"]}
    assert values["lira-online.auc"] > 0.9
    assert values["rmia.auc"] > 0.8
    assert values["loss.auc"] < 0.65
    assert document["verdict"] == "FAIL"
    assert "16 reference models" in document["scope"]
    null = audit(saved(tmp_path, with_references())).verdict.document.to_json()
    assert {c["name"].split(" ")[0]: c["value"] for c in null["checks"]}["lira-online.auc"] < 0.56


def test_a_baseline_adds_paired_differences(tmp_path: Path) -> None:
    dense, small = arrays(leak=1.0), arrays(leak=0.2)
    found = audit(saved(tmp_path, small), baseline=saved(tmp_path, dense, "dense"))
    checks = {c.name: c for c in found.verdict.checks}
    assert checks["loss.auc ≤ dense + 0.02"].estimate.value < -0.05
    assert checks["loss.auc ≤ dense + 0.02"].status == "PASS"
    assert "accuracy ≥ dense − 0.05" in checks
    assert [row.name for row in found.verdict.document.comparison] == [
        "dense",
        "model",
    ]
    other = arrays(seed=3)
    with pytest.raises(UsageError, match="labels that differ"):
        audit(saved(tmp_path, small), baseline=saved(tmp_path, other, "other"))


def test_a_baseline_without_references_is_compared_by_the_other_attacks(tmp_path: Path) -> None:
    found = with_references(200, leak=1.2)
    plain = {k: v for k, v in found.items() if "reference" not in k}
    ours, theirs = saved(tmp_path, found), saved(tmp_path, plain, "dense")
    verdict = audit(ours, baseline=theirs).verdict
    names = [c.name for c in verdict.checks]
    assert "lira-online.auc ≤ 0.6" in names
    assert "lira-online.auc ≤ dense + 0.02" not in names
    assert verdict.status == "FAIL"
    assert "lira-online.auc ≤ dense + 0.02" in [
        c.name for c in audit(ours, baseline=ours).verdict.checks
    ]


def test_limits_become_checks(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(leak=0.5))
    result = run(
        path, "--max-auc", 0.99, "--max-advantage", 0.01, "--max-tpr", "0.5@0.1", "--out",
        tmp_path / "out", "--json", "--markdown", tmp_path / "s.md", "--junit", tmp_path / "j.xml",
        "--html", tmp_path / "h.html",
    )  # fmt: skip
    assert code(result) == 1
    last = json.loads(result.stdout.strip().splitlines()[-1])
    assert (last["status"], last["exit_code"]) == ("FAIL", 1)
    document = json.loads((tmp_path / "out" / "verdict.json").read_text())
    status = {c["name"]: c["status"] for c in document["checks"]}
    assert status["loss.auc ≤ 0.99"] == "PASS"
    assert status["loss.advantage ≤ 0.01"] == "FAIL"
    assert status["loss.tpr@0.1 ≤ 0.5"] == "PASS"
    assert "| loss.advantage ≤ 0.01 |" in (tmp_path / "s.md").read_text()
    assert "<testsuite" in (tmp_path / "j.xml").read_text()
    assert (tmp_path / "h.html").read_bytes() == (tmp_path / "out" / "report.html").read_bytes()


def test_too_few_rows_for_a_rate_are_not_a_pass(tmp_path: Path) -> None:
    found = audit(saved(tmp_path, arrays()), limits=Limits(max_tpr=((0.0005, 0.0001),)))
    rates = [c for c in found.verdict.checks if "tpr@0.0001" in c.name]
    assert rates
    assert {c.status for c in rates} == {"INCONCLUSIVE"}


def test_labels_that_tell_the_groups_apart_void_the_audit(tmp_path: Path) -> None:
    found = arrays(3000)
    few = found["member_labels"] < 5
    found |= {name: found[name][few] for name in ("member_logits", "member_labels")}
    document = audit(saved(tmp_path, found)).verdict.document.to_json()
    blind = next(c for c in document["checks"] if c["name"] == "control: blind baseline")
    assert blind["status"] == "ERROR"
    assert "labels alone" in blind["message"]
    assert document["verdict"] == "ERROR"


def test_the_same_file_and_seed_give_the_same_verdict(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(leak=0.4))
    ours, theirs = (audit(path, seed=5).verdict.document.to_json() for _ in range(2))
    for document in (ours, theirs):
        for check in document["checks"]:
            check.pop("seconds")
    assert ours == theirs


def test_a_model_that_says_the_same_of_every_row_is_not_refused(tmp_path: Path) -> None:
    found = arrays()
    for group in ("member", "nonmember"):
        found[f"{group}_logits"][:] = found["member_logits"][0]
    document = audit(saved(tmp_path, found)).verdict.document.to_json()
    values = {c["name"]: c["value"] for c in document["checks"]}
    assert values["confidence.auc ≤ 0.6"] == 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-auc", "0.4"),
        ("--max-auc", "1.1"),
        ("--max-auc", "nan"),
        ("--max-advantage", "-0.1"),
        ("--max-tpr", "0.01"),
        ("--max-tpr", "x@y"),
        ("--max-tpr", "0.01@0"),
        ("--level", "1"),
        ("--level", "nan"),
    ],
)
def test_bad_limits_are_refused(arguments: tuple[str, str], tmp_path: Path) -> None:
    result = run(saved(tmp_path, arrays(40)), "--out", tmp_path / "out", *arguments)
    assert code(result) == 2
    assert not (tmp_path / "out").exists()


def test_a_further_attack_may_have_options(tmp_path: Path) -> None:
    out, request = tmp_path / "out", "{neural-published: {epochs: 3}}"
    result = run(saved(tmp_path, arrays()), "--out", out, "--attack", request)
    assert code(result) == 0, result.output
    document = json.loads((out / "verdict.json").read_text())
    assert "neural-published.auc ≤ 0.6" in {check["name"] for check in document["checks"]}
    refused = run(saved(tmp_path, arrays()), "--attack", request.replace("epochs", "epoch"))
    assert code(refused) == 2
    assert "did you mean 'epochs'?" in str(refused.exception or refused.output)
