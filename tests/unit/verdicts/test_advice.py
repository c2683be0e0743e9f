"""What a verdict says to do next: never nothing, and with the figures of the run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.attacks import ATTACKS
from safecompress.checks import (
    Accuracy,
    AttackMeasure,
    AttributeInference,
    Check,
    CheckResult,
    Density,
    QuerySavingMeasure,
    Status,
    TransferRate,
    at_least,
    at_least_dense,
    at_most,
    at_most_dense,
)
from safecompress.config import CompressConfig
from safecompress.protocols import Estimate
from safecompress.verdicts.advice import Kind, advised, kind_of, next_steps
from safecompress.verdicts.assemble import AuditFacts, assemble
from safecompress.verdicts.case import Case
from safecompress.verdicts.document import AuditedModel
from tests.imagined_verdicts import checks, controls, judged, run_config
from tests.support import count

MANY = settings(max_examples=count(150, 3000), deadline=None)
LOSS = ATTACKS.build("loss", where="test")
FAR = Estimate(0.8, 0.75, 0.85, 500, 500)
CONFIGS: tuple[CompressConfig | None, ...] = (
    None,
    run_config(),
    run_config(sparse__density=1, sparse__rounds=0, steer__defenses="[hamp]"),
    run_config(steer__objective="{bounded: {tolerance: 0.02}}", steer__proposals="[rigl]"),
)


@given(asked=checks(), held=controls(), config=st.sampled_from(CONFIGS))
@MANY
def test_only_a_pass_has_no_next_step(
    asked: tuple[Check, ...], held: tuple[CheckResult, ...], config: CompressConfig | None
) -> None:
    finding = judged(asked, held, config=config)
    model = AuditedModel(name="m", accuracy=None, outputs="logits", classes=3, references=0)
    document = assemble(finding, AuditFacts(model, 1, "", ()))
    assert bool(document.next_steps) == (finding.status is not Status.PASS)
    for step in document.next_steps:
        assert step[0].isupper() or step[0] == "'", step
        assert step.endswith("."), step


@given(asked=checks(), held=controls(), config=st.sampled_from(CONFIGS))
@MANY
def test_every_check_that_brought_it_about_has_advice(
    asked: tuple[Check, ...], held: tuple[CheckResult, ...], config: CompressConfig | None
) -> None:
    for result in judged(asked, held, config=config).checks:
        needed = result.status in {Status.FAIL, Status.INCONCLUSIVE, Status.ERROR, Status.WARN}
        needed |= result.critical and result.status is Status.NOT_RUN
        assert bool(result.advice) == needed


def failed(measure: object, condition: object, estimate: Estimate = FAR) -> Case:
    check = Check("c", measure, condition)  # type: ignore[arg-type]
    leak = check.measure.leak
    return Case(CheckResult("c", Status.FAIL, True, "", estimate, 0.0, leak=leak), check)


FAILED = {
    Kind.LEAK: failed(AttackMeasure(LOSS), at_most(0.6)),
    Kind.PARENT: failed(TransferRate(), at_most(0.2)),
    Kind.COLUMN: failed(AttributeInference(column=3), at_most(0.1)),
    Kind.WORTH: failed(Accuracy(), at_least(0.9)),
    Kind.SIZE: failed(Density(), at_most(0.04)),
}


@pytest.mark.parametrize("kind", FAILED)
def test_a_failure_is_of_its_kind(kind: Kind) -> None:
    assert kind_of(FAILED[kind]) is kind
    assert kind_of(failed(QuerySavingMeasure(), at_most(2))) is Kind.PARENT


def step(case: Case, config: CompressConfig | None) -> str:
    assert case.check is not None
    checks_ = {"c": case.check}
    (said,) = next_steps(case.result.status, [case.result], checks=checks_, config=config)
    assert said == advised(case.result, case.check, config).advice
    return said


def test_a_run_that_leaks_names_its_own_settings() -> None:
    said = step(FAILED[Kind.LEAK], run_config(sparse__train__epochs=8, steer__proposals="[set]"))
    for part in (
        "c (0.800)",
        "sparse.density from 0.05 (e.g. to 0.025)",
        "sparse.train.epochs: 8 → 4",
        "steer.proposals: [set, soft-labels, student]",
        "steer.defenses: [relax-loss]",
    ):
        assert part in said
    said = step(FAILED[Kind.LEAK], run_config(steer__defenses="[hamp]"))
    assert "strengthen the defense (steer.defenses: hamp)" in said
    assert "soft-labels" not in said, "the default proposals have teachers"


def test_a_run_that_errs_names_its_own_settings() -> None:
    said = step(FAILED[Kind.WORTH], run_config(sparse__train__epochs=6))
    for part in (
        "sparse.density from 0.05 (e.g. to 0.1)",
        "sparse.train.epochs: 6 → 12",
        "steer.objective: {bounded: {tolerance: 0.01}}",
    ):
        assert part in said
    bounded = step(FAILED[Kind.WORTH], run_config(steer__objective="{bounded: {tolerance: 0.1}}"))
    assert "bounded" not in bounded
    whole = step(FAILED[Kind.WORTH], run_config(sparse__density=1, sparse__rounds=0))
    assert "density" not in whole
    assert "bounded" not in whole


def test_the_examples_of_settings_can_be_configured() -> None:
    config = run_config(
        steer__defenses="[relax-loss]",
        steer__objective="{bounded: {tolerance: 0.01}}",
        steer__proposals="[unpair]",
    )
    assert config.steer.defenses == ("relax-loss",)
    from safecompress.checks import OBJECTIVES
    from safecompress.defenses import DEFENSES
    from safecompress.proposals import PROPOSALS

    OBJECTIVES.build(config.steer.objective, where="test")
    assert "relax-loss" in DEFENSES.parts
    assert {"soft-labels", "student", "unpair"} <= PROPOSALS.parts.keys()


def undecided(condition: object, value: float, *, relative: bool = False) -> Case:
    estimate = Estimate(value, value - 0.04, value + 0.04, 500, 500)
    measure = AttackMeasure(LOSS)
    result = CheckResult("c", Status.INCONCLUSIVE, True, "", estimate, 0.0, decided=False)
    return Case(result, Check("c", measure, condition))  # type: ignore[arg-type]


def test_an_undecided_check_is_told_how_many_rows_it_needs() -> None:
    case = undecided(at_most(0.60), 0.58)
    assert "Audit about 4,000 rows in place of 1,000" in step(case, None)
    assert "Seal about 4,000 rows in place of 1,000" in step(case, run_config())


def test_a_figure_at_its_limit_is_not_told_to_find_rows() -> None:
    for config in (None, run_config()):
        assert "More rows will not settle" in step(undecided(at_most(0.60), 0.6), config)
        said = step(undecided(at_most_dense(0.0), 0.0001), config)
        assert "a margin to the dense model" in said
        assert "in place of" not in said


def test_an_error_says_what_its_control_says() -> None:
    control = CheckResult(
        "control: blind baseline", Status.ERROR, True, "", None, 0.0, "the groups differ"
    )
    idle = CheckResult("control: x", Status.NOT_RUN, False, "", None, 0.0, "too few")
    (said,) = next_steps(Status.ERROR, [control, idle], checks={}, config=None)
    assert said == "Mend the tests first: control: blind baseline: the groups differ."
    assert advised(idle, None, None) == idle


def test_a_check_that_could_not_run_says_what_it_lacks() -> None:
    check = Check("c", Accuracy(), at_least_dense(-0.05))
    result = CheckResult("c", Status.NOT_RUN, True, "", None, 0.0, "there is no dense model.")
    (said,) = next_steps(Status.ERROR, [result], checks={"c": check}, config=None)
    assert said == "Give 'c' what it lacks, or leave it out: there is no dense model."


def test_what_a_control_took_away_is_mended_with_the_control() -> None:
    control = CheckResult(
        "control: planted leak, rmia", Status.ERROR, True, "", None, 0.0, "missed", attack="rmia"
    )
    taken = CheckResult(
        "rmia.auc", Status.ERROR, True, "", FAR, 0.0, "its control failed", attack="rmia"
    )
    other = CheckResult("loss.auc", Status.ERROR, True, "", None, 0.0, "NaN", attack="loss")
    said = next_steps(Status.ERROR, [taken, other, control], checks={}, config=None)
    assert len(said) == 2
    assert "rmia" in said[0]
    assert "loss.auc" in said[1]
    assert not any("rmia.auc" in step for step in said)
