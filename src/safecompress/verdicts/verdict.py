"""`Verdict`, `Finding` and `find`: a verdict from the evidence on models side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safecompress.checks import (
    EXIT_CODES,
    Accuracy,
    AttackMeasure,
    CheckResult,
    GroupFinding,
    GroupLeak,
    Measure,
    Status,
    Subject,
    Suite,
    group_clause,
    overall,
)
from safecompress.checks.blind_spot import SignalLeak, blind_spot, leaks_by_signals
from safecompress.checks.by_class import majority_clause
from safecompress.checks.controls import not_run
from safecompress.checks.group_leak import group_measures_of, worst_group
from safecompress.checks.overall import unasked, withdrawn
from safecompress.config import CompressConfig
from safecompress.errors import FOREIGN, UndecidableError
from safecompress.events import Event
from safecompress.protocols import Attack
from safecompress.registry.identity import identity
from safecompress.report import verdict_card
from safecompress.stats import power
from safecompress.verdict_names import DENSE
from safecompress.verdicts.advice import advised, next_steps
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.joint_document import JointVerdict
from safecompress.verdicts.parts import CheckEntry, ComparedModel, Power, Span
from safecompress.verdicts.sentence import sentence_of

LIMITS = (
    "It holds for the attacks listed, not for every attack: a stronger one may find more.",
    "It holds for this training set, drawn as stated; it says nothing of any one person's record "
    "beyond the averages and rates shown.",
    "Thresholds learned by the auditor on half of the judged rows are an upper bound for an "
    "attacker who must learn them elsewhere.",
    "Passing is not a formal guarantee such as differential privacy.",
)
DECLARED = (
    "That members were trained on, non-members were not, and both were drawn alike is taken on "
    "trust, but for what the blind baseline compared."
)
CHOSEN = "Rows that were looked at while the model was being chosen make it look safer than it is."
THREAT_MODEL = (
    "The attacker reaches only the judged model, sees its full outputs, and knows each record's "
    "true label. Where the dense model is out in the world too, more may be possible."
)
_HOLDS_MORE = {
    "parent": "holds the dense model as well as the judged one",
    "family": "holds several compressed versions of the model",
    "judges": "holds models of the same rows that labeled none of them for the judged model",
    "rows": "knows each record's inputs",
    "target": "may ask the model about other records",
    "internals": "holds the model's file and can compute anything inside it",
}


def threat_model(attacks: Sequence[Attack]) -> str:
    """Return in words what the attacker has; attacks that suppose more are named.

    Args:
        attacks: the attacks of the suite.
    """
    sentences = [THREAT_MODEL]
    for attack in attacks:
        more = " and ".join(w for what, w in _HOLDS_MORE.items() if what in attack.requires)
        if more:
            sentences.append(f"The attack '{attack.name}' supposes an attacker who {more}.")
    return " ".join(sentences)


def on_request(names: Sequence[str]) -> str:
    """Return the end of a scope that names the attacks that ran only because the user named them.

    Args:
        names: names of these attacks; without any the result is empty.
    """
    return f"; on request also {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class Verdict:
    """A verdict with its document and figures.

    Args:
        status: PASS, FAIL, INCONCLUSIVE or ERROR.
        sentence: the verdict in plain words.
        checks: every check, controls included.
        document: the contents of `verdict.json`, typed; `document.to_json()` is the JSON.
        figures: the JSON of `figures.json`.
    """

    status: Status
    sentence: str
    checks: tuple[CheckResult, ...]
    document: CompressVerdict | AuditVerdict | JointVerdict
    figures: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """Exit code of a command that ends in this verdict."""
        return EXIT_CODES[self.status]

    def __repr__(self) -> str:
        return f"<Verdict {self.status}: {self.sentence}>"

    def _repr_html_(self) -> str:
        return verdict_card(self.document.to_json(), kind="Verdict")


@dataclass(frozen=True)
class Outcome:
    """The status of a whole suite of checks.

    Args:
        status: PASS, FAIL, INCONCLUSIVE or ERROR.
        sentence: the status in plain words.
        checks: every check, controls last.
        next_steps: what to do about it, a sentence each; empty after a PASS.
    """

    status: Status
    sentence: str
    checks: tuple[CheckResult, ...]
    next_steps: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Finding(Outcome):
    """The results of checks and controls on one of several models.

    Args:
        status: the status of the whole suite, by the rules of `overall`.
        sentence: the status in plain words.
        checks: every check, controls last; those of an attack whose control failed are errors.
        subjects: the models by name, with cached results of attacks on them.
        judged: name of the judged model.
        attacks: the attacks of the suite, each once.
        comparison: the models side by side.
        level: confidence level of the intervals.
        next_steps: what to do about it, a sentence each; empty after a PASS.
        group_measures: the suite's measures of the leak within groups of rows.
        worst_group: the group with the surest leak by these; None where none was measured.
        by_signals: what the strongest attack of each kind finds, the kind that finds most first.
    """

    subjects: Mapping[str, Subject]
    judged: str
    attacks: tuple[Attack, ...]
    comparison: tuple[ComparedModel, ...]
    level: float
    group_measures: tuple[GroupLeak, ...] = ()
    worst_group: GroupFinding | None = None
    by_signals: tuple[SignalLeak, ...] = ()

    @property
    def subject(self) -> Subject:
        """The judged model."""
        return self.subjects[self.judged]

    @property
    def alone(self) -> tuple[Attack, ...]:
        """The attacks that need no second model; headlines are about the judged model alone."""
        return tuple(attack for attack in self.attacks if "parent" not in attack.requires)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What was not tested itself: names of attacks without controls, and `blind baseline`.

        The controls' messages say why they were not run. See `not_run`.
        """
        return not_run(self.checks)

    def accuracy_of(self, name: str) -> float | None:
        """Return the accuracy of one of the models; None where it could not be measured.

        Args:
            name: the model's name.
        """
        accuracy = next(row for row in self.comparison if row.name == name).accuracy
        return None if accuracy is None else accuracy.value


def find(
    subjects: Mapping[str, Subject],
    judged: str,
    suite: Suite,
    *,
    compared: Sequence[AttackMeasure],
    controls: Callable[[Sequence[Attack]], tuple[CheckResult, ...]],
    level: float,
    on_result: Callable[[CheckResult], None],
    config: CompressConfig | None = None,
    steered: frozenset[str] = frozenset(),
) -> Finding:
    """Run a suite and its controls on one of several models.

    A control that fails withdraws the checks of its attack (`withdrawn`); `overall` states how the
    remaining ones decide.

    Args:
        subjects: models by name, on the same rows; the others are compared with `dense`.
        judged: name of the judged model.
        suite: the checks.
        compared: the measures shown of every model, besides its accuracy.
        controls: runs the controls of the given attacks.
        level: confidence level of the intervals, in (0, 1).
        on_result: called after each check and control, and again with each check that a failed
            control withdraws.
        config: the configuration of the run, for advice; None in an audit.
        steered: the kinds of attacks by which the judged model was chosen; empty where none were.
    """
    dense, attacks = subjects.get(DENSE), attacks_of(suite)
    asked = {check.name: check for check in suite.checks}
    classifies = subjects[judged].classifies

    def with_advice(result: CheckResult) -> CheckResult:
        return advised(result, asked.get(result.name), config, classifies=classifies)

    def announce(result: CheckResult) -> None:
        on_result(with_advice(result))

    results = suite.run(subjects[judged], dense, level=level, on_result=announce)
    control_results = (*controls(attacks), *unasked(suite))
    believed = withdrawn(results, control_results)
    changed = [new for old, new in zip(results, believed, strict=True) if new is not old]
    for late in (*control_results, *changed):
        announce(late)
    broken = {c.attack for c in control_results if c.status is Status.ERROR}
    trusted = [attack for attack in attacks if attack.name not in broken and "" not in broken]
    leaks = leaks_by_signals(subjects[judged], trusted, steered=steered, level=level)
    blind = blind_spot(leaks, level=level)
    if blind is not None:
        on_result(blind)
        believed = (*believed, blind)
    checks = (*believed, *control_results)
    status = overall(believed, control_results)
    comparison = tuple(compared_model(s, dense, compared, level=level) for s in subjects.values())
    row = next(r for r in comparison if r.name == judged)
    sizes = subjects[judged].outputs.map(len)
    groups = group_measures_of(suite)
    worst = worst_group(groups, subjects[judged], level=level)
    clauses = (group_clause(worst), majority_clause(checks))
    sentence = sentence_of(
        status,
        checks,
        row,
        conditions={check.name: check.condition for check in suite.checks},
        rows=sizes.members + sizes.nonmembers,
        more=[f"{clause}." for clause in clauses if clause],
    )
    return Finding(
        status,
        sentence,
        tuple(map(with_advice, checks)),
        subjects,
        judged,
        tuple(attacks),
        comparison,
        level,
        groups,
        worst,
        leaks,
        next_steps=next_steps(status, checks, checks=asked, config=config, classifies=classifies),
    )


def power_statement(n_members: int, n_nonmembers: int, *, level: float) -> Power:
    """Return the smallest AUC that so many rows can tell from chance, in numbers and in words.

    Args:
        n_members: members that are judged on.
        n_nonmembers: non-members that are judged on.
        level: confidence level of the intervals, in (0, 1).
    """
    half = power.auc_half_width(0.5, n_members, n_nonmembers, level=level)
    rows = f"{n_members} members and {n_nonmembers} non-members"
    try:
        smallest = power.smallest_detectable_auc(n_members, n_nonmembers, level=level)
    except UndecidableError:
        smallest = None
        text = f"{rows} are too few to tell any AUC from chance."
    else:
        text = (
            f"{rows} tell an AUC of {smallest:.3f} or more from chance (power 80 %); near chance "
            f"the interval is ±{half:.3f}."
        )
    return Power(
        smallest_detectable_auc=smallest,
        half_width_at_chance=half,
        n_members=n_members,
        n_nonmembers=n_nonmembers,
        text=text,
    )


def attacks_of(suite: Suite) -> list[Attack]:
    """Return the attacks of a suite, each once, in the order of its checks.

    Args:
        suite: the checks.
    """
    attacks = {identity(a): a for check in suite.checks for a in check.measure.uses_attacks}
    return list(attacks.values())


def compared_model(
    subject: Subject, dense: Subject | None, measures: Sequence[AttackMeasure], *, level: float
) -> ComparedModel:
    """Return the figures of one of the models that stand side by side.

    Args:
        subject: the model.
        dense: the dense model on the same rows; None without one.
        measures: the measures shown, besides the accuracy.
        level: confidence level of the intervals, in (0, 1).
    """
    difference = None
    if dense is not None and subject is not dense:
        difference = _spans((Accuracy(), *measures), subject, dense, level=level)
    return ComparedModel(
        name=subject.name,
        density=subject.density,
        accuracy=_span(Accuracy(), subject, None, level=level) if subject.classifies else None,
        attacks=_spans(measures, subject, None, level=level),
        difference_to_dense=difference,
    )


def _spans(
    measures: Sequence[Measure], subject: Subject, dense: Subject | None, *, level: float
) -> dict[str, Span]:
    """Return spans by name of measure, without those that cannot be measured."""
    spans = {m.name: _span(m, subject, dense, level=level) for m in measures}
    return {name: span for name, span in spans.items() if span is not None}


def _span(
    measure: Measure, subject: Subject, dense: Subject | None, *, level: float
) -> Span | None:
    """Return a figure with its interval, or None where it cannot be measured."""
    try:
        if dense is None:
            estimate = measure.estimate(subject, level=level)
        else:
            estimate = measure.difference(subject, dense, level=level)
    except FOREIGN:  # third-party attacks may raise anything; their checks report the error
        return None
    return Span.of(estimate)


def check_line(result: CheckResult) -> str:
    """Return one check as a line of text.

    Args:
        result: how the check ended.
    """
    e = result.estimate
    figure = "" if e is None else f" {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"
    return f"  {result.status:<12} {result.name}{figure}"


def check_event(result: CheckResult) -> Event:
    """Return the event of a finished check, for listeners.

    Args:
        result: how the check ended.
    """
    return Event("check", check_line(result), CheckEntry.of(result).to_json())
