"""Attacks that hold more than one model's outputs, in audits of live models and in runs."""

from __future__ import annotations

import html
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safecompress import audit, record
from safecompress.attacks import ATTACKS
from safecompress.audits.time_budget import Budget, TimePlan, plan_attacks
from safecompress.checks import Subject
from safecompress.errors import ConfigError, DataError
from safecompress.protocols import Evidence
from safecompress.verdicts.verdict import THREAT_MODEL
from tests.small_runs import begin

ROWS, WIDTH, CLASSES = 400, 24, 4
FOREVER = float("inf")


def trained(x: torch.Tensor, y: torch.Tensor) -> nn.Sequential:
    """Return a net that knows its rows by heart."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def pruned(dense: nn.Sequential) -> nn.Sequential:
    """Return a copy without the smaller half of the first layer's weights."""
    small = deepcopy(dense)
    with torch.no_grad():
        weight = small[0].weight
        weight.mul_(weight.abs() > weight.abs().median())
    return small


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(2 * ROWS, WIDTH, generator=source)
    y = (x[:, :CLASSES] + torch.randn(2 * ROWS, CLASSES, generator=source)).argmax(dim=1)
    dense = trained(x[:ROWS], y[:ROWS])
    return {
        "data": ((x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])),
        "dense": dense,
        "small": pruned(dense),
    }


def values(found: Any) -> dict[str, Any]:
    return {c["name"]: c for c in found.verdict.document.to_json()["checks"]}


def test_with_the_dense_model_the_attacker_who_holds_both_is_heard(
    world: dict[str, Any], tmp_path: Path
) -> None:
    found = audit(world["small"], world["data"], baseline=world["dense"], out=tmp_path / "out")
    document, checks = found.verdict.document.to_json(), values(found)
    pair = checks["pair.auc ≤ 0.6"]
    assert not pair["critical"]
    assert pair["value"] > 0.7
    assert checks["control: planted leak, pair"]["status"] == "PASS"
    assert checks["control: no leak, pair"]["status"] == "PASS"
    text = document["threat_model"]["text"]
    assert "'pair' supposes an attacker who holds the dense model as well" in text
    assert found.strongest != "pair"
    one, both = document["newly_exposed"]
    assert one["attack"] == one["dense_attack"] == found.strongest
    assert both["attack"] == "pair"
    for entry in (one, both):
        assert entry["rate"] == pytest.approx(len(entry["rows"]) / entry["members"])
        assert set(entry["rows"]) <= set(range(ROWS))
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert "Members newly exposed" in page
    assert "holds the dense model as well" in page


def test_a_dense_model_of_more_classes_is_no_parent_and_no_accident(world: dict[str, Any]) -> None:
    def wider(x: torch.Tensor) -> torch.Tensor:
        logits = world["dense"](x)
        return torch.cat([logits, logits.amin(dim=1, keepdim=True)], dim=1)

    with pytest.raises(DataError, match="the baseline must answer for the same classes"):
        audit(world["small"], world["data"], baseline=wider)


def test_without_it_nothing_is_said_of_two_models(world: dict[str, Any], tmp_path: Path) -> None:
    found = audit(world["small"], world["data"], out=tmp_path / "out")
    assert not any("pair" in name for name in values(found))
    assert found.verdict.document.threat_model.text == THREAT_MODEL
    assert "newly_exposed" not in found.verdict.document.to_json()
    assert "Members newly exposed" not in (tmp_path / "out" / "report.html").read_text()


def test_the_dense_model_exposes_nobody_anew_on_itself(world: dict[str, Any]) -> None:
    found = audit(world["dense"], world["data"], baseline=world["dense"])
    one = found.verdict.document.newly_exposed[0]
    assert (one.rate, one.dense_only_rate, one.rows) == (0.0, 0.0, ())


def test_a_live_model_can_be_asked_about_other_rows(world: dict[str, Any]) -> None:
    asked = ("augmentation", "boundary", "quantile")
    found = audit(world["dense"], world["data"], attacks=asked)
    checks = values(found)
    for name in asked:
        assert checks[f"{name}.auc ≤ 0.6"]["value"] > 0.65
        assert checks[f"control: planted leak, {name}"]["status"] == "PASS"
    assert found.verdict.document.to_json()["scope"].endswith(
        "on request also augmentation, boundary, quantile"
    )
    assert "may ask the model about other records" in found.verdict.document.threat_model.text


def test_named_attacks_are_compared_with_the_dense_model_where_it_can_be_asked(
    world: dict[str, Any],
) -> None:
    found = audit(
        world["small"], world["data"], baseline=world["dense"], attacks=["quantile", "pair"]
    )
    checks = values(found)
    assert checks["quantile.auc ≤ dense + 0.02"]["value"] is not None
    # Who is asked for by name has to keep the limits, whoever holds the dense model.
    assert checks["pair.auc ≤ 0.6"]["critical"]
    assert "pair.auc ≤ dense + 0.02" not in checks


def test_who_names_a_white_box_attack_looks_inside(world: dict[str, Any]) -> None:
    found = audit(world["dense"], world["data"], attacks=["white-box"])
    assert values(found)["white-box.auc ≤ 0.6"]["value"] > 0.65
    document = found.verdict.document.to_json()
    text = "'white-box' supposes an attacker who holds the model's file and can compute"
    assert text in document["threat_model"]["text"]
    assert "nothing saw the model's weights" not in document["scope"]


def test_an_attack_that_does_not_exist_is_refused_before_anything_is_asked() -> None:
    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("asked")

    rows = (torch.zeros(9, 2), torch.zeros(9, dtype=torch.int64))
    with pytest.raises(ConfigError, match="no attack is called 'boundry'"):
        audit(never, (rows, rows), attacks=["boundry"])


@pytest.mark.parametrize(
    ("seconds", "ran"), [(0.5, set()), (300.0, {"quantile", "augmentation", "boundary"})]
)
def test_dear_attacks_join_where_a_time_is_given_and_they_fit(
    world: dict[str, Any], seconds: float, ran: set[str]
) -> None:
    members, others = world["data"]
    some = tuple((x[:120], y[:120]) for x, y in (members, others))
    found = plan(world["dense"], some, seconds)
    dear = {"quantile", "augmentation", "boundary"}
    assert {attack.name for attack in found.attacks} & dear == ran
    assert not {attack.name for attack in plan(world["dense"], some, FOREVER).attacks} & dear


def test_a_slow_model_is_asked_fewer_questions(world: dict[str, Any]) -> None:
    def slow(x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.002 * len(x))
        return world["dense"](x)

    members, others = world["data"]
    some = tuple((x[:60], y[:60]) for x, y in (members, others))
    found = plan(slow, some, 20.0)
    assert found.left_out == ("label-only changed copies", "label-only distances")


def test_what_cannot_be_read_joins_no_budget_and_names_decide_nothing() -> None:
    words = nn.Sequential(nn.EmbeddingBag(50, 8), nn.Linear(8, 3))
    groups = tuple((torch.randint(0, 50, (60, 6)), torch.randint(0, 3, (60,))) for _ in range(2))
    found = plan(words, groups, 300.0)
    names = {attack.name for attack in found.attacks}
    assert "augmentation" in names
    assert "boundary" not in names
    assert "label-only distances" not in (*found.tiers, *found.left_out)


def test_named_attacks_run_whatever_the_time(world: dict[str, Any]) -> None:
    members, others = world["data"]
    some = tuple((x[:120], y[:120]) for x, y in (members, others))
    named = [ATTACKS.build("augmentation", where="test")]
    found = plan(world["dense"], some, 0.5, named=named)
    assert found.attacks[-1].name == "augmentation"
    assert "label-only changed copies" not in (*found.tiers, *found.left_out)


def plan(model: Any, data: Any, seconds: float, *, named: Any = ()) -> TimePlan:
    evidence = record(model, *data).evidence
    subjects = {"model": Subject.of(evidence, name="model", density=None, seed=0)}
    return plan_attacks(subjects, "model", Budget(seconds, time.perf_counter()), named=named)


def test_who_has_a_file_alone_is_told_what_is_missing(world: dict[str, Any]) -> None:
    recorded = record(world["dense"], *world["data"])
    bare = replace(recorded, evidence=recorded.evidence.map(lambda e: Evidence(e.outputs)))
    found = audit(bare, attacks=["boundary"])
    check = values(found)["boundary.auc ≤ 0.6"]
    assert check["status"] == "NOT_RUN"
    assert "needs 'rows'" in check["message"]
    assert str(found.verdict.status) == "ERROR"


def test_a_run_gives_its_attacks_the_rows_the_models_and_the_dense_outputs(tmp_path: Path) -> None:
    names = ["pair", "augmentation", "quantile"]
    checks = [
        {"measure": {"attack": {"attack": name}}, "condition": {"at_most": 0.9}} for name in names
    ]
    run = begin(tmp_path / "run", dense={"epochs": 3, "lr": 0.05}, verdict={"checks": checks})
    document = run.verdict.document.to_json()
    ended = {c["name"]: c["status"] for c in document["checks"]}
    for name in names:
        assert ended[f"{name}.auc ≤ 0.9"] in {"PASS", "INCONCLUSIVE"}
    # Before any training there is no dense model of which this one would be the compressed.
    assert ended["control: untouched model, pair"] == "NOT_RUN"
    assert ended["control: untouched model, augmentation"] != "NOT_RUN"
    assert "on request also pair, augmentation, quantile" in document["scope"]
    assert {e["attack"] for e in document["newly_exposed"]} <= set(names)
