"""Generated verdicts: checks of measures whose figures are given, judged by `find` itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hypothesis import strategies as st

from safecompress.attacks import ATTACKS
from safecompress.checks import (
    AttackMeasure,
    Check,
    CheckResult,
    Condition,
    Measure,
    Status,
    Subject,
    Suite,
)
from safecompress.config import CompressConfig, load_config
from safecompress.errors import MissingEvidenceError, UndecidableError
from safecompress.protocols import Estimate
from safecompress.verdict_names import AUDITED
from safecompress.verdicts.verdict import Finding, find
from tests.verdict_documents import subject

SUBJECTS = {AUDITED: subject(AUDITED, seed=0)}
ROWS = 60
LOSS = AttackMeasure(ATTACKS.build("loss", where="test"))


@dataclass(frozen=True)
class Given(Measure):
    """A measure whose estimate is given, or that raises what is given."""

    label: str
    outcome: Any

    @property
    def name(self) -> str:
        return self.label

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        if isinstance(self.outcome, Estimate):
            return self.outcome
        raise self.outcome

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        return self.estimate(subject, level=level)


class Leak(Given):
    """Of a leak."""

    worse: ClassVar[Literal["higher", "lower"]] = "higher"


class Worth(Given):
    """Of what a model is worth."""

    worse: ClassVar[Literal["higher", "lower"]] = "lower"


class Bulk(Given):
    """Of a size."""

    worse: ClassVar[Literal["higher", "lower"]] = "higher"
    leak: ClassVar[bool] = False


FAULTS = st.sampled_from(
    [UndecidableError("too few rows."), MissingEvidenceError("no dense model."), ValueError("nan")]
)


@st.composite
def outcomes(draw: st.DrawFn) -> Any:
    """Return an estimate with a proper interval, or an error."""
    if draw(st.integers(0, 4)) == 0:
        return draw(FAULTS)
    value, below, above = (draw(st.floats(0, 1)) for _ in range(3))
    members, others = draw(st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
    if draw(st.booleans()):
        below, above = below / 20, above / 20
    return Estimate(value, value - below, value + above, members, others)


@st.composite
def checks(draw: st.DrawFn) -> tuple[Check, ...]:
    """Return checks with names of their own, of leaks, worth and sizes."""
    made = []
    for index in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from([Leak, Worth, Bulk]))
        name = f"{kind.__name__.lower()}-{index}"
        relation = "at_least" if kind is Worth else "at_most"
        bound = draw(st.sampled_from([0.3, 0.5, 0.6]))
        critical, decisive = draw(st.integers(0, 3)) > 0, draw(st.integers(0, 3)) > 0
        made.append(
            Check(
                name,
                kind(name, draw(outcomes())),
                Condition(relation, bound),  # type: ignore[arg-type]
                critical,
                decisive,
            )
        )
    return tuple(made)


@st.composite
def controls(draw: st.DrawFn) -> tuple[CheckResult, ...]:
    """Return controls, most of which held."""
    made = []
    for index in range(draw(st.integers(0, 4))):
        status = draw(
            st.sampled_from([*[Status.PASS] * 6, Status.ERROR, Status.NOT_RUN, Status.NOT_RUN])
        )
        critical = status is not Status.NOT_RUN
        made.append(
            CheckResult(f"control: c{index}", status, critical, "held", None, 0.0, "a message")
        )
    return tuple(made)


def judged(
    asked: tuple[Check, ...],
    held: tuple[CheckResult, ...] = (),
    *,
    config: CompressConfig | None = None,
) -> Finding:
    """Return what `find` makes of some checks and controls.

    Args:
        asked: the checks.
        held: the results of the controls.
        config: the configuration of a run; None in an audit.
    """
    return find(
        SUBJECTS,
        AUDITED,
        Suite(asked),
        compared=[LOSS],
        controls=lambda attacks: held,
        level=0.95,
        on_result=lambda result: None,
        config=config,
    )


def run_config(**settings: Any) -> CompressConfig:
    """Return a run's configuration.

    Args:
        settings: assignments of options, dots written as double underscores.
    """
    given = {"model": {"name": "mlp"}, "sparse": {"density": 0.05}}
    return load_config(
        given, assignments=[f"{k.replace('__', '.')}={v}" for k, v in settings.items()]
    )
