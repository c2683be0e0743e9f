"""A run steered by a white-box attacker, an audit by one, and the control that watches both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from pytest_safecompress import assert_safe
from safecompress import audit, record
from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.imagined import evidence_for, plant
from safecompress.checks import CheckResult, Status, Subject
from safecompress.checks.controls import control_checks
from safecompress.errors import ConfigError, ModelError
from safecompress.protocols import Attack, Evidence, Pool, Rows
from safecompress.run.folder import VERDICT, read_history
from tests.small_runs import begin, brisk, make_model

WHITE = ATTACKS.build("white-box", where="test")
ORDER = "control: black-box not above white-box"


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run steered by the worse of a black-box and a white-box attacker."""
    steer = {
        "search": "every-round",
        "proposals": ["rigl", "set"],
        "attacks": ["loss", "white-box"],
    }
    folder = tmp_path_factory.mktemp("white") / "run"
    with brisk():
        begin(folder, steer=steer, verdict={})
    return folder


def test_every_candidate_is_attacked_from_inside_and_the_worst_attacker_counts(
    steered: Path,
) -> None:
    lines = read_history(steered)
    tested = [line for line in lines if line["status"] == "ok"]
    assert tested
    for line in tested:
        assert line["seconds"]["internals"] > 0
        found = {name: line["measures"][f"{name}.auc"] for name in ("loss", "white-box")}
        # A signal that ranks members below the others counts as much as one that ranks them above.
        worst = max(max(auc, 1 - auc) for auc in found.values())
        assert f"AUC {worst:.4f}" in line["reason"]


def test_the_verdict_judges_by_it_shows_it_and_says_so(steered: Path) -> None:
    verdict = json.loads((steered / VERDICT).read_text())
    names = [check["name"] for check in verdict["checks"]]
    assert "white-box.auc ≤ 0.6" in names
    assert "white-box.auc ≤ dense + 0.02" in names
    assert {f"control: {c}, white-box" for c in ("planted leak", "no leak", "untouched model")} <= {
        *names
    }
    assert ORDER in names
    assert all("white-box.auc" in row["attacks"] for row in verdict["comparison"])
    assert "white-box" in verdict["scope"]
    assert "inside it" in verdict["threat_model"]["text"]
    assert "white-box" in json.loads((steered / "figures.json").read_text())["roc"]["compressed"]


def test_without_one_nothing_inside_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("nobody asked for internals")

    monkeypatch.setattr("safecompress.train.fit.internals", refuse)
    with brisk():
        found = begin(tmp_path / "run")
    assert "white-box" not in found.verdict.document.to_json()["scope"]
    assert "internals" not in read_history(tmp_path / "run")[0]["seconds"]


def labeler() -> torch.nn.Module:
    torch.manual_seed(0)
    return make_model()


def data(n: int = 260) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return rows that the untrained model is often right of, because it labeled half of them."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(2 * n, 6, generator=draw), torch.randint(3, (2 * n,), generator=draw)
    with torch.no_grad():
        own = labeler().eval()(x).argmax(dim=1)
    y = torch.where(torch.rand(2 * n, generator=draw) < 0.5, own, y)
    return (x[:n], y[:n]), (x[n:], y[n:])


def test_an_audit_of_a_module_may_look_inside() -> None:
    model = labeler()
    found = audit(model, data(), white_box=True, baseline=labeler())
    names = [check.name for check in found.verdict.checks]
    assert {"white-box.auc ≤ 0.6", "white-box.auc ≤ dense + 0.02", ORDER} <= {*names}
    assert "white-box" in found.verdict.document.to_json()["scope"]
    assert "nothing saw" not in found.verdict.document.to_json()["scope"]
    again = audit(record(model, *data(), white_box=True))
    assert "white-box.auc ≤ 0.6" in [check.name for check in again.verdict.checks]
    outside = audit(model, data())
    assert not [c for c in outside.verdict.checks if "white-box" in c.name]
    assert "nothing saw the model's weights" in outside.verdict.document.to_json()["scope"]


def test_a_baseline_known_by_its_outputs_alone_is_compared_by_those() -> None:
    model = labeler()
    found = audit(model, data(), white_box=True, baseline=record(labeler(), *data()))
    names = [check.name for check in found.verdict.checks]
    assert "white-box.auc ≤ 0.6" in names
    assert "white-box.auc ≤ dense + 0.02" not in names


def test_a_model_as_a_test_may_be_attacked_from_inside() -> None:
    # Nothing was trained, so nothing leaks.
    found = assert_safe(labeler(), data(2000), white_box=True, max_auc=0.6)
    assert "white-box.auc ≤ 0.6" in [check.name for check in found.verdict.checks]


@pytest.mark.parametrize("target", [labeler().forward, "file"])
def test_only_a_module_has_an_inside(target: Any) -> None:
    given = record(labeler(), *data()) if target == "file" else target
    with pytest.raises(ConfigError, match=r"white_box: .*torch\.nn\.Module"):
        audit(given, data(), white_box=True)


def test_a_model_that_returns_probabilities_is_asked_for_logits() -> None:
    with pytest.raises(ModelError, match="leave out its last softmax"):
        audit(nn.Sequential(labeler(), nn.Softmax(dim=1)), data(), white_box=True)


@dataclass(frozen=True)
class Guessing(Attack):
    """A white-box attack that does not look."""

    name: ClassVar[str] = "guessing"
    requires: ClassVar[frozenset[str]] = frozenset({"internals"})

    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        return (evidence.outputs.ids % 7).double()


def leaky() -> tuple[Subject, Pool[Rows]]:
    """Return a subject that leaks through its outputs, and its rows."""
    outputs = synthetic_outputs(800, seed=0)
    held = evidence_for(WHITE, outputs, seed=0)
    members = held.take(torch.arange(400))
    planted = Evidence(plant(members.outputs, like=outputs, seed=0), internals=members.internals)
    evidence = Pool(planted, held.take(torch.arange(400, 800)))
    rows = evidence.map(
        lambda e: Rows(torch.zeros(len(e.outputs), 1), e.outputs.labels, e.outputs.ids)
    )
    return Subject.of(evidence, name="model", density=None, seed=0), rows


def order(*attacks: Attack) -> CheckResult | None:
    subject, rows = leaky()
    found = control_checks(subject, rows, attacks=attacks)
    return next((c for c in found if c.name == ORDER), None)


def test_a_white_box_attack_weaker_than_a_black_box_one_is_an_error_that_says_why() -> None:
    result = order(ATTACKS.build("loss", where="t"), Guessing())
    assert result is not None
    assert result.status is Status.ERROR
    assert result.estimate is not None
    assert result.estimate.low > 0
    assert "loss has AUC" in result.message
    assert "badly run" in result.message


def test_a_sound_white_box_attack_passes_and_the_stronger_one_counts() -> None:
    loss = ATTACKS.build("loss", where="t")
    for attacks in ((loss, WHITE), (loss, Guessing(), WHITE)):
        result = order(*attacks)
        assert result is not None
        assert result.status is Status.PASS
        assert "badly run" not in result.message


def test_the_order_is_asked_where_both_kinds_ran() -> None:
    assert order(ATTACKS.build("loss", where="t")) is None
    assert order(WHITE) is None


def test_a_model_without_layers_says_so() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    with pytest.raises(ModelError, match="calls no Linear or Conv2d layer"):
        audit(Table(), data(), white_box=True)
