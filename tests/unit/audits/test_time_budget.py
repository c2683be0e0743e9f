"""A time budget: the cheapest tiers first, nothing begun that cannot end, and the scope says so."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from safecompress import audit
from safecompress.attacks import ATTACKS
from safecompress.audits.suite import TIERS, Tier, attacks_for
from safecompress.audits.time_budget import Budget, plan_attacks
from safecompress.checks import Subject
from safecompress.config import seconds_of
from safecompress.data import read_outputs
from safecompress.errors import ConfigError
from tests.recorded_outputs import arrays, saved, with_references
from tests.support import count

FOREVER = float("inf")


def subjects(path: Path) -> dict[str, Subject]:
    found = read_outputs(path).evidence
    return {"model": Subject.of(found, name="model", density=None, seed=0)}


def budget(seconds: float) -> Budget:
    return Budget(seconds, time.perf_counter())


@pytest.mark.parametrize(
    ("given", "seconds"), [("60s", 60), ("2m", 120), ("1h", 3600), ("1.5 m", 90), (7, 7), ("7", 7)]
)
def test_lengths_of_time(given: str | float, seconds: float) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["", "s", "-1", "0", "1d", "nan", "inf", "1e3", True, "1 2s"])
def test_what_is_no_length_of_time(given: Any) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        seconds_of(given)


def test_without_a_budget_every_tier_runs_whose_evidence_is_there(tmp_path: Path) -> None:
    plain = plan_attacks(subjects(saved(tmp_path, arrays(100))), "model", budget(FOREVER))
    rich = plan_attacks(subjects(saved(tmp_path, with_references(100))), "model", budget(FOREVER))
    assert plain.left_out == rich.left_out == ()
    assert {a.name for a in rich.attacks} - {a.name for a in plain.attacks} == {
        "lira-offline",
        "lira-online",
        "lira-online-own-variance",
        "rmia",
        "learnt-references",
    }


def test_with_no_time_at_all_the_first_tier_runs(tmp_path: Path) -> None:
    judged = subjects(saved(tmp_path, with_references(100)))
    plan = plan_attacks(judged, "model", budget(0.001))
    evidence = judged["model"].evidence
    able = [tier.name for tier in TIERS if attacks_for(tier, evidence)]
    assert (*plan.tiers, *plan.left_out) == tuple(able)
    assert plan.tiers == (TIERS[0].name,)


def test_more_time_never_runs_less(tmp_path: Path) -> None:
    path = saved(tmp_path, with_references(100))
    ran = [
        set(plan_attacks(subjects(path), "model", budget(seconds)).tiers)
        for seconds in (0.001, 4.2, 60.0, FOREVER)
    ]
    assert all(less <= more for less, more in itertools.pairwise(ran))
    assert ran[0] < ran[-1]


def test_a_dear_tier_stays_out_and_a_cheap_one_behind_it_still_runs(tmp_path: Path) -> None:
    dear = Tier("a week of attacks", ("neural",), 7 * 24 * 3600.0, 0.0)
    tiers = (TIERS[0], dear, TIERS[1])
    found = subjects(saved(tmp_path, arrays(100)))
    plan = plan_attacks(found, "model", budget(60.0), tiers=tiers)
    assert plan.tiers == (TIERS[0].name, TIERS[1].name)
    assert plan.left_out == ("a week of attacks",)


def test_a_slow_machine_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took a hundred times as long as estimated will go on doing so."""
    found = subjects(saved(tmp_path, arrays(100)))
    attacked: Callable[..., Any] = Subject.attacked_by

    def slowly(self: Subject, attack: Any) -> Any:
        time.sleep(0.5)
        return attacked(self, attack)

    tiers = (TIERS[0], Tier("a neural attack", ("neural",), 0.1, 0.0))
    in_time = plan_attacks(found, "model", budget(14.0), tiers=tiers)
    monkeypatch.setattr(Subject, "attacked_by", slowly)
    too_late = plan_attacks(found, "model", budget(14.0), tiers=tiers)
    assert in_time.left_out == ()
    assert too_late.left_out == ("a neural attack",)


def test_the_scope_says_what_was_left_out(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(200))
    hurried = audit(path, time_budget=0.001).verdict
    assert "left out for time: " + ", ".join(t.name for t in TIERS[1:3]) in str(
        hurried.document.scope
    )
    assert not [c for c in hurried.checks if c.name.startswith("neural")]
    assert "left out" not in audit(path, time_budget="10m").verdict.document.to_json()["scope"]


@pytest.mark.parametrize("seed", range(count(1, 50)))
@pytest.mark.parametrize("leak", [0.0, 0.5])
def test_an_audit_without_a_usual_attack_never_passes(
    tmp_path: Path, leak: float, seed: int
) -> None:
    """Whether or not there is something that only the attacks which were left out would find."""
    draw = np.random.default_rng(seed)
    rows, classes = 1000, int(draw.integers(2, 8))
    given: dict[str, Any] = {}
    for group, lift in (("member", leak), ("nonmember", 0.0)):
        y, at = draw.integers(classes, size=rows), np.arange(rows)
        z = draw.normal(size=(rows, classes))
        z[at, y] += 1 + 2 * draw.normal(size=rows)
        said = z[None] + 0.2 * draw.normal(size=(9, rows, classes))
        seen = draw.random((8, rows)) < 0.5
        said[0, at, y] += lift
        said[1:, at, y] += leak * seen
        given |= {f"{group}_logits": said[0], f"{group}_labels": y}
        given |= {f"{group}_reference_logits": said[1:], f"{group}_reference_seen": seen}
    path = saved(tmp_path, given)
    hurried = audit(path, time_budget=0.001).verdict
    assert hurried.status in {"INCONCLUSIVE", "FAIL"}
    (control,) = [c for c in hurried.checks if c.name == "control: time for the usual attacks"]
    assert "reference attacks" in control.message
    assert "reference models" not in str(hurried.document.scope)
    whole = audit(path, time_budget="10m").verdict
    assert whole.status == "FAIL" if leak else whole.status != "FAIL"
    assert not [c for c in whole.checks if "time for" in c.name]


def test_a_model_too_slow_to_be_asked_is_not_asked() -> None:
    asked = []

    def slow(x: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        time.sleep(0.2)
        return torch.zeros(len(x), 3)

    labels = torch.zeros(20_000, dtype=torch.int64)
    x = torch.arange(80_000).float().reshape(2, 20_000, 2)
    with pytest.raises(ConfigError, match="asking the model about 40000 rows"):
        audit(slow, ((x[0], labels), (x[1], labels)), time_budget="5s")
    assert asked == [512]


def test_every_tier_names_attacks_that_exist_and_none_twice(tmp_path: Path) -> None:
    built = [ATTACKS.build(request, where="test") for tier in TIERS for request in tier.attacks]
    names = [attack.name for attack in built]
    assert len(set(names)) == len(names)
    evidence = read_outputs(saved(tmp_path, arrays(100))).evidence
    assert attacks_for(TIERS[0], evidence), "an audit without any evidence but outputs can begin"
