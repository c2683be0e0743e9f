from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from safecompress.attacks import ATTACKS
from safecompress.checks import (
    Accuracy,
    AttackMeasure,
    Check,
    CheckResult,
    Condition,
    Density,
    Status,
    Subject,
    Suite,
    at_least,
    at_least_dense,
    at_most,
    at_most_dense,
    corrected_level,
    default_suite,
    metric_named,
    overall,
)
from safecompress.checks.controls import control_checks
from safecompress.errors import ConfigError
from safecompress.protocols import Attack, Estimate, Evidence, Outputs, Pool, Rows


def outputs(n: int, *, sharpness: float, seed: int, first_id: int = 0, classes: int = 5) -> Outputs:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=draw)
    logits = torch.randn(n, classes, generator=draw)
    logits[torch.arange(n), labels] += sharpness
    return Outputs(logits, labels, torch.arange(first_id, first_id + n))


def subject(leak: float, *, n: int = 600, name: str = "x", density: float = 0.05) -> Subject:
    pool = Pool(
        outputs(n, sharpness=1.0 + leak, seed=1),
        outputs(n, sharpness=1.0, seed=2, first_id=n),
    )
    return Subject.of(pool, name=name, density=density, seed=0)


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 10, 10)


@pytest.mark.parametrize(
    ("condition", "low", "high", "status"),
    [
        (at_most(0.55), 0.50, 0.55, Status.PASS),
        (at_most(0.55), 0.56, 0.60, Status.FAIL),
        (at_most(0.55), 0.54, 0.56, Status.INCONCLUSIVE),
        (at_least(0.9), 0.90, 0.95, Status.PASS),
        (at_least(0.9), 0.80, 0.89, Status.FAIL),
        (at_least(0.9), 0.85, 0.95, Status.INCONCLUSIVE),
        (at_least_dense(-0.05), -0.04, 0.01, Status.PASS),
        (at_most_dense(0.0), 0.01, 0.02, Status.FAIL),
    ],
)
def test_a_condition_judges_the_whole_interval(
    condition: Condition, low: float, high: float, status: Status
) -> None:
    assert condition.judge(estimate(low, high)) is status


def test_an_attack_runs_once_however_many_checks_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    @dataclass(frozen=True)
    class Counting(Attack):
        name: ClassVar[str] = "counting"

        def score(self, fitted: Any, evidence: Evidence) -> Tensor:
            calls.append(len(evidence.outputs))
            return -evidence.outputs.losses

    s = subject(1.0)
    for metric in ("auc", "balanced-accuracy", "class-balanced-accuracy", "advantage", "tpr@0.05"):
        AttackMeasure(Counting(), metric_named(metric)).estimate(s, level=0.95)
    assert calls == [600, 600]


def test_a_leak_is_told_from_none_and_paired_difference_sees_it() -> None:
    measure = AttackMeasure(ATTACKS.build("loss", where="t"))
    leaking, silent = subject(2.0), subject(0.0)
    assert measure.estimate(leaking, level=0.95).low > 0.7
    assert (
        measure.estimate(silent, level=0.999).low < 0.5 < measure.estimate(silent, level=0.999).high
    )
    assert measure.difference(leaking, silent, level=0.95).low > 0.2


def test_accuracy_is_measured_on_non_members_only() -> None:
    s = subject(30.0)
    assert Accuracy().estimate(s, level=0.95).value == pytest.approx(s.accuracy)
    assert s.accuracy < 0.9
    assert Accuracy().estimate(s, level=0.95).n_nonmembers == 600


def test_relative_checks_without_a_dense_model_do_not_run() -> None:
    result = Check("a", Accuracy(), at_least_dense(-0.05)).run(subject(0.0), None, level=0.95)
    assert result.status is Status.NOT_RUN
    assert overall([result]) is Status.ERROR


def test_too_few_rows_are_inconclusive_and_say_so() -> None:
    measure = AttackMeasure(ATTACKS.build("loss", where="t"), metric_named("tpr@0.001"))
    result = Check("a", measure, at_most(0.01)).run(subject(0.0), None, level=0.95)
    assert result.status is Status.INCONCLUSIVE
    assert not result.decided


@dataclass(frozen=True)
class Broken(Attack):
    name: ClassVar[str] = "broken"

    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        raise ZeroDivisionError("third-party trouble")


def test_controls_of_an_attack_that_crashes_are_errors_and_the_others_are_held() -> None:
    judged = subject(0.0)
    sealed = judged.outputs.map(lambda o: Rows(o.logits, o.labels, o.ids))
    loss = ATTACKS.build("loss", where="test")
    found = control_checks(judged, sealed, attacks=[Broken(), loss])
    assert {r.name: r.status for r in found} == {
        "control: blind baseline": Status.PASS,
        "control: planted leak, broken": Status.ERROR,
        "control: no leak, broken": Status.ERROR,
        "control: direction, broken": Status.ERROR,
        "control: planted leak, loss": Status.PASS,
        "control: no leak, loss": Status.PASS,
        "control: direction, loss": Status.PASS,
    }
    broken = [r for r in found if r.status is Status.ERROR]
    assert all("third-party trouble" in r.message for r in broken)


@dataclass(frozen=True)
class WithShadows(Attack):
    name: ClassVar[str] = "with-shadows"
    knowledge: ClassVar[str] = "shadow"

    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        return -evidence.outputs.losses


@pytest.mark.parametrize(
    ("metric", "knowledge"), [("auc", "shadow"), ("balanced-accuracy", "auditor")]
)
def test_a_threshold_learned_on_the_target_s_own_rows_is_the_auditor_s(metric, knowledge) -> None:
    measure = AttackMeasure(WithShadows(), metric_named(metric))
    assert measure.estimate(subject(0.5), level=0.95).knowledge == knowledge


def test_an_attack_that_crashes_is_an_error_not_a_pass() -> None:
    result = Check("a", AttackMeasure(Broken()), at_most(0.9)).run(subject(0.0), None, level=0.95)
    assert result.status is Status.ERROR
    assert "third-party trouble" in result.message


def result_of(status: Status, *, critical: bool = True) -> CheckResult:
    return CheckResult("x", status, critical, "", None, 0.0)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([Status.PASS, Status.PASS], Status.PASS),
        ([Status.PASS, Status.FAIL, Status.INCONCLUSIVE], Status.FAIL),
        ([Status.PASS, Status.INCONCLUSIVE], Status.INCONCLUSIVE),
        ([Status.FAIL, Status.ERROR], Status.ERROR),
        ([Status.PASS, Status.NOT_RUN], Status.ERROR),
        ([], Status.ERROR),
    ],
)
def test_worst_wins(statuses: list[Status], expected: Status) -> None:
    assert overall([result_of(s) for s in statuses]) is expected


def test_only_critical_checks_decide_but_one_must_run() -> None:
    soft = [result_of(Status.WARN, critical=False), result_of(Status.ERROR, critical=False)]
    assert overall(soft) is Status.ERROR
    assert overall([*soft, result_of(Status.PASS)]) is Status.PASS


def test_a_failed_soft_check_warns() -> None:
    check = Check("a", Density(), at_most(0.01), critical=False)
    assert check.run(subject(0.0), None, level=0.95).status is Status.WARN


def test_check_names_are_unique() -> None:
    check = Check("same", Density(), at_most(1))
    with pytest.raises(ConfigError, match="same"):
        Suite((check, check))


def test_looks_widen_intervals() -> None:
    measure = AttackMeasure(ATTACKS.build("loss", where="t"))
    s = subject(0.5)
    once = measure.estimate(s, level=corrected_level(0.95, 1))
    often = measure.estimate(s, level=corrected_level(0.95, 20))
    assert often.low < once.low < once.high < often.high


@pytest.mark.parametrize("name", ["acu", "tpr@", "tpr@2", "tpr@0", "balanced accuracy"])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        metric_named(name)


def test_default_suite_fails_a_leak_and_passes_none() -> None:
    suite = default_suite(density=0.05, relative=True)
    dense = subject(3.0, n=2000, name="dense", density=1.0)
    leaking = suite.run(subject(3.0, n=2000), dense, level=0.95)
    assert overall(leaking) is Status.FAIL
    silent = suite.run(subject(0.0, n=2000), dense, level=0.95)
    assert overall(silent) is Status.PASS, [(r.name, r.status, r.message) for r in silent]
