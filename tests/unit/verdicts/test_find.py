"""`find`: which checks a failed control withdraws, what is announced, and what was not tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from safecompress.attacks.metric import LossAttack, true_class_log_odds
from safecompress.checks import (
    Accuracy,
    AttackMeasure,
    Check,
    CheckResult,
    Status,
    Subject,
    Suite,
    at_least,
    at_most,
    at_most_dense,
)
from safecompress.checks.conditions import Condition
from safecompress.checks.controls import control_checks
from safecompress.checks.metrics import metric_named
from safecompress.checks.overall import unasked
from safecompress.protocols import Attack, Evidence, Pool, Rows
from safecompress.verdict_names import AUDITED
from safecompress.verdicts.verdict import Finding, find
from tests.sure_models import broken_attack, sure_outputs


@dataclass(frozen=True)
class TellsTheIds(Attack):
    """Finds the members by their ids and passes every control of its own."""

    name = "by-id"

    def score(self, fitted: Any, evidence: Evidence) -> torch.Tensor:
        first = evidence.outputs.ids < 600
        return true_class_log_odds(evidence.outputs) + 8.0 * first.double()


def found(
    *attacks: Attack, shift: bool = False, n: int = 600, more: Sequence[Check] = ()
) -> tuple[Finding, list[CheckResult]]:
    outputs = sure_outputs(2 * n, classes=5, sure=1.0, seed=0)
    pool = Pool(outputs.take(torch.arange(n)), outputs.take(torch.arange(n, 2 * n)))
    rows = pool.map(lambda o: Rows(o.logits[:, :0], o.labels, o.ids))
    if shift:
        members = rows.members
        away = Rows(torch.ones(n, 1), members.labels, members.ids)
        others = rows.nonmembers
        rows = Pool(away, Rows(torch.zeros(n, 1), others.labels, others.ids))
    subject = Subject.of(pool, name=AUDITED, density=None, seed=0)
    checks = [Check(f"{a.name}.auc", AttackMeasure(a), at_most(0.6)) for a in attacks]
    announced: list[CheckResult] = []
    finding = find(
        {AUDITED: subject},
        AUDITED,
        Suite((*checks, *more)),
        compared=[AttackMeasure(a) for a in attacks],
        controls=lambda held: control_checks(subject, rows, attacks=held),
        level=0.95,
        on_result=announced.append,
    )
    return finding, announced


@pytest.mark.parametrize("fault", ["noise", "constant", "reversed", "nan"])
def test_a_broken_attack_leaves_a_proved_leak_standing_and_hides_nothing_else(fault: str) -> None:
    broken = broken_attack(fault)
    finding, announced = found(broken, TellsTheIds())
    assert finding.status is Status.FAIL
    by_name = {c.name: c for c in finding.checks}
    assert by_name[f"{fault}.auc"].status is Status.ERROR
    assert by_name["by-id.auc"].status is Status.FAIL
    assert announced[-1].status is Status.ERROR
    assert found(broken, LossAttack())[0].status is Status.ERROR
    assert found(LossAttack())[0].status is Status.PASS


WORTH = Check("accuracy", Accuracy(), at_least(0.0))
LEAK = Check("loss.auc", AttackMeasure(LossAttack()), at_most(0.6))


@pytest.mark.parametrize("worth", [True, False, None], ids=["critical", "soft", "none"])
@pytest.mark.parametrize("leak", [True, False, None], ids=["critical", "soft", "none"])
def test_only_a_model_that_was_tested_for_a_leak_passes(
    worth: bool | None, leak: bool | None
) -> None:
    asked = ((WORTH, worth), (LEAK, leak))
    checks = [replace(check, critical=yes) for check, yes in asked if yes is not None]
    status = found(more=checks)[0].status
    if leak:
        assert status is Status.PASS
    else:
        assert status is (Status.INCONCLUSIVE if worth else Status.ERROR)


@pytest.mark.parametrize("metric", ["auc", "balanced-accuracy", "tpr@0.01"])
@pytest.mark.parametrize(
    ("limit", "tested"),
    [
        (at_most(0.99), True),
        (at_most(1.0), False),
        (at_most(7.0), False),
        (at_least(0.0), False),
        (at_most_dense(1.0), False),
        (at_most_dense(0.02), True),
    ],
)
def test_a_limit_that_the_largest_leak_keeps_is_no_test(
    metric: str, limit: Condition, tested: bool
) -> None:
    check = Check("limit", AttackMeasure(LossAttack(), metric_named(metric)), limit)
    assert check.tests_a_leak is tested
    assert bool(unasked(Suite((check,)))) is not tested
    assert not unasked(Suite((check, LEAK)))


def test_rows_that_differ_take_away_every_figure() -> None:
    assert found(TellsTheIds(), shift=True)[0].status is Status.ERROR


def test_what_was_not_tested_is_named() -> None:
    assert found(LossAttack())[0].unchecked == ()
    assert found(LossAttack(), n=30)[0].unchecked == ("blind baseline", "loss")
