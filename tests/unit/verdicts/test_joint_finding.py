"""One verdict on several files: one level for all, controls that take one attack away."""

from __future__ import annotations

import numpy as np

from safecompress.audits.suite import Limits
from safecompress.checks import CheckResult, Status, corrected_level
from safecompress.verdicts.joint_finding import JointFinding, Scope
from tests.joint_sets import judged, recorded, said_of


def found(*, lifts: tuple[float, ...] = (), limit: float = 0.6, **options: object) -> JointFinding:
    draw = np.random.default_rng(21)
    signs = (1.0, -1.0, 0.0)
    files = recorded(said_of(draw, 400, signs=signs, lifts=lifts))
    return judged(files, seed=0, limits=Limits(max_auc=limit), **options)  # type: ignore[arg-type]


def broken(name: str, attack: str) -> object:
    """Return controls of which one fails: that of an attack on the files of one scope."""

    def controls(scope: Scope, among: int) -> tuple[CheckResult, ...]:
        assert among == 3 * 5 + 3 + 1
        if scope.name != name:
            return ()
        title = f"control: planted leak, {attack}"
        return (CheckResult(title, Status.ERROR, True, "caught", None, 0.0, attack=attack),)

    return controls


def test_a_failed_control_takes_one_attack_on_one_file_away() -> None:
    made = found(controls=broken("file-1", "loss"))
    assert made.status is Status.ERROR
    undone = {check.name for check in made.checks if check.status is Status.ERROR}
    assert undone == {
        "control: planted leak, loss on file-1",
        *(c.name for c in made.checks if c.attack == "loss on file-1" and "control" not in c.name),
    }
    assert all(name.endswith("file-1") or name.startswith("file-1: ") for name in undone)
    statuses = {scope.name: made.status_of[scope.name] for scope in made.singles}
    assert statuses["file-1"] is Status.ERROR
    assert Status.ERROR not in {statuses["file-0"], statuses["file-2"]}
    scope = made.singles[1]
    assert "loss" not in {attack.name for attack in made.trusted(scope)}
    assert "loss.auc" not in made.figures_of["file-1"].attacks


def test_a_failed_control_of_an_attack_on_several_files_takes_it_away_everywhere() -> None:
    made = found(lifts=(0.8, 0.8, 0.8), limit=0.5, controls=broken("file-0 + file-1", "pair"))
    assert made.status is Status.FAIL
    pairs = [c for c in made.checks if c.attack == "pair" and not c.name.startswith("control")]
    assert len(pairs) == 9
    assert {check.status for check in pairs} == {Status.ERROR}


def test_a_failure_holds_at_the_level_that_all_files_share() -> None:
    """An AUC fails where it is above its limit at the corrected level; at the plain one is less."""
    seen = set()
    for lift in (0.05, 0.1, 0.15, 0.3):
        made = found(lifts=(lift, lift, 0.0), limit=0.5)
        among = sum(check.critical for scope in made.scopes for check in scope.suite.checks)
        strict = corrected_level(0.95, among)
        results = {check.name: check for check in made.checks}
        for scope in made.scopes:
            for check in scope.suite.checks:
                if not check.name.endswith(".auc ≤ 0.5") or check.name.startswith("class"):
                    continue
                wide, plain = (
                    check.condition.judge(check.measured(scope.subject, None, level=level))
                    for level in (strict, 0.95)
                )
                result = results[f"{scope.name}: {check.name}"]
                assert (result.status is Status.FAIL) == (wide is Status.FAIL)
                seen.add((wide, plain))
    assert (Status.INCONCLUSIVE, Status.FAIL) in seen
    assert (Status.FAIL, Status.FAIL) in seen


def test_other_pairs_than_the_chosen_one_only_warn_where_rows_are_too_few() -> None:
    made = found(limit=0.5)
    undecided = {
        scope.name: {c.status for c in made.checks if c.name.startswith(f"{scope.name}: pair.auc")}
        for scope in made.scopes
        if len(scope.files) == 2
    }
    assert undecided.pop(made.best_pair) == {Status.INCONCLUSIVE}
    assert set.union(*undecided.values()) <= {Status.WARN, Status.PASS}
