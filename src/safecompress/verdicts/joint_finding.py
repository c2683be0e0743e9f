"""`Scope`, `JointFinding`, `find_jointly`: one verdict on files that an attacker holds together.

An attacker may use one file of a set, two, or all of them. Each of these choices is a `Scope` with
checks of its own. The checks of all scopes share one level: a FAIL has to hold at the level that is
corrected for the number of critical checks of the whole set, so more files and more pairs make no
false alarm likelier. A PASS needs every scope to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from safecompress.checks import Check, CheckResult, Status, Subject, Suite, overall
from safecompress.checks.measures import AttackMeasure
from safecompress.checks.overall import withdrawn
from safecompress.protocols import Attack
from safecompress.verdicts.advice import advised, next_steps
from safecompress.verdicts.parts import ComparedModel, Span, aucs_of
from safecompress.verdicts.sentence import is_control, sentence_of
from safecompress.verdicts.verdict import Finding, attacks_of, compared_model

OWN_INPUTS = "own inputs"
"""What stands for an attack in the control that a file got the inputs it knows."""


@dataclass(frozen=True)
class Scope:
    """What an attacker holds of a set, and what is asked of it.

    Args:
        name: its name in the verdict: that of the file, or of the files.
        files: positions of the files in the set.
        subject: the evidence on these files.
        suite: the checks.
        compared: the measures that are shown side by side.
    """

    name: str
    files: tuple[int, ...]
    subject: Subject
    suite: Suite
    compared: tuple[AttackMeasure, ...]

    @property
    def alone(self) -> bool:
        """Whether it is one file by itself."""
        return len(self.files) == 1

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """The attacks of its suite, each once."""
        return tuple(attacks_of(self.suite))

    def label(self, attack: str) -> str:
        """Return how an attack is called in the verdict: one control is of one attack on one file.

        Attacks on several files have the same control in every scope.

        Args:
            attack: the attack's name; empty where a result is of none.
        """
        return f"{attack} on {self.name}" if attack and self.alone else attack


@dataclass(frozen=True, kw_only=True)
class JointFinding(Finding):
    """The results of the checks of all scopes.

    Args:
        scopes: single files first, then pairs, then the whole set.
        status_of: by scope, what its own checks add up to.
        figures_of: by scope, its figures.
        best_pair: name of the pair that was chosen; empty where there is none.
    """

    scopes: tuple[Scope, ...]
    status_of: Mapping[str, Status]
    figures_of: Mapping[str, ComparedModel]
    best_pair: str

    @property
    def singles(self) -> tuple[Scope, ...]:
        """The scopes of one file each."""
        return tuple(scope for scope in self.scopes if scope.alone)

    def trusted(self, scope: Scope) -> tuple[Attack, ...]:
        """Return the attacks of a scope whose controls did not fail.

        Args:
            scope: one of the scopes.
        """
        broken = {c.attack for c in self.checks if is_control(c) and c.status is Status.ERROR}
        return tuple(a for a in scope.attacks if scope.label(a.name) not in broken)


def find_jointly(
    scopes: Sequence[Scope],
    *,
    dense: Subject | None,
    published: bool,
    best_pair: str,
    controls: Callable[[Scope, int], tuple[CheckResult, ...]],
    level: float,
    on_result: Callable[[CheckResult], None],
) -> JointFinding:
    """Run the checks and controls of all scopes of a set.

    Args:
        scopes: single files first, then pairs, then the whole set.
        dense: the dense model on the same rows, which files are compared with; None without one.
        published: whether the dense model is one of the files, and so shown as such already.
        best_pair: name of the pair that was chosen; empty where there is none.
        controls: runs the controls of a scope, given the number of attacks in all scopes.
        level: confidence level of the intervals, in (0, 1).
        on_result: called after each check and control, and again with each check that a failed
            control withdraws.
    """
    asked = {f"{s.name}: {check.name}": check for s in scopes for check in s.suite.checks}

    def with_advice(result: CheckResult) -> CheckResult:
        return advised(result, asked.get(result.name), None)

    def announce(result: CheckResult) -> None:
        on_result(with_advice(result))

    by_scope = _checked(scopes, dense, level=level, announce=announce)
    tested = _tested(scopes, controls, announce=announce)
    believed = {name: withdrawn(results, tested) for name, results in by_scope.items()}
    every = tuple(result for results in believed.values() for result in results)
    for before, after in zip(chain(*by_scope.values()), every, strict=True):
        if after is not before:
            announce(after)
    status = overall(every, tested)
    broken = {control.attack for control in tested if control.status is Status.ERROR}
    figures = {s.name: _figures(s, dense, broken, level=level) for s in scopes}
    row = _together(scopes, figures)
    checks = (*every, *tested)
    family = scopes[-1]
    sizes = family.subject.outputs.map(len)
    pair = [best_pair] if best_pair and best_pair != family.name else []
    shown = [family.name, *pair, *(s.name for s in scopes if s.alone)]
    rows = (
        []
        if dense is None or published
        else [compared_model(dense, None, scopes[0].compared, level=level)]
    )
    return JointFinding(
        status,
        sentence_of(
            status,
            checks,
            row,
            conditions={name: check.condition for name, check in asked.items()},
            rows=sizes.members + sizes.nonmembers,
        ),
        tuple(map(with_advice, checks)),
        {scope.name: scope.subject for scope in scopes},
        family.name,
        family.attacks,
        (*rows, *(figures[name] for name in shown)),
        level,
        next_steps=next_steps(status, checks, checks=asked, config=None),
        scopes=tuple(scopes),
        status_of={s.name: _status(s, believed[s.name], tested) for s in scopes},
        figures_of=figures,
        best_pair=best_pair,
    )


def _checked(
    scopes: Sequence[Scope],
    dense: Subject | None,
    *,
    level: float,
    announce: Callable[[CheckResult], None],
) -> dict[str, list[CheckResult]]:
    """Return by scope the results of its checks, which share one level with those of all others."""
    among = sum(check.critical for scope in scopes for check in scope.suite.checks)
    by_scope: dict[str, list[CheckResult]] = {scope.name: [] for scope in scopes}
    for scope in scopes:
        for check in scope.suite.checks:
            result = _of_scope(scope, check, dense, level=level, among=among)
            by_scope[scope.name].append(result)
            announce(result)
    return by_scope


def _tested(
    scopes: Sequence[Scope],
    controls: Callable[[Scope, int], tuple[CheckResult, ...]],
    *,
    announce: Callable[[CheckResult], None],
) -> tuple[CheckResult, ...]:
    """Return the controls of all scopes, each named by its file where it is of one file."""
    attacks = sum(len(scope.attacks) for scope in scopes)
    results = [_named(scope, c) for scope in scopes for c in controls(scope, attacks)]
    for result in results:
        announce(result)
    return tuple(results)


def _of_scope(
    scope: Scope, check: Check, dense: Subject | None, *, level: float, among: int
) -> CheckResult:
    result = check.run(scope.subject, dense, level=level, among=among)
    attack = scope.label(result.attack)
    return replace(result, name=f"{scope.name}: {result.name}", attack=attack)


def _named(scope: Scope, control: CheckResult) -> CheckResult:
    """Return a control that names its file, where it is of an attack on one file."""
    if not control.attack or not scope.alone:
        return control
    attack = scope.label(control.attack)
    return replace(control, name=f"{control.name} on {scope.name}", attack=attack)


def _status(
    scope: Scope, results: Sequence[CheckResult], controls: Sequence[CheckResult]
) -> Status:
    named = (OWN_INPUTS, *(attack.name for attack in scope.attacks))
    labels = {"", *map(scope.label, named)}
    return overall(results, [control for control in controls if control.attack in labels])


def _figures(
    scope: Scope, dense: Subject | None, broken: set[str], *, level: float
) -> ComparedModel:
    """Return what a scope's trusted attacks find; several files have no accuracy of their own."""
    trusted = [m for m in scope.compared if scope.label(m.attack.name) not in broken]
    row = compared_model(scope.subject, dense if scope.alone else None, trusted, level=level)
    return row if scope.alone else row.model_copy(update={"accuracy": None})


def _together(scopes: Sequence[Scope], figures: Mapping[str, ComparedModel]) -> ComparedModel:
    """Return the AUCs of all scopes as those of one model, for the verdict's sentence."""
    aucs: dict[str, Span] = {}
    for scope in scopes:
        for attack, span in aucs_of(figures[scope.name].attacks).items():
            name = f"{scope.label(attack)}.auc"
            if name not in aucs or (span.value or 0.0) > (aucs[name].value or 0.0):
                aucs[name] = span
    return ComparedModel(
        name=scopes[-1].name, density=None, accuracy=None, attacks=aucs, difference_to_dense=None
    )
