"""`objection_to`, `require_plausible`: whether outputs can be a trained model's on these labels.

Wrong preprocessing, another order of classes or shuffled labels hide what a model leaks. Every way
into an audit and into a run asks here before any attack, and refuses with the same words. What only
a very weak model explains is a doubt, which a stated accuracy settles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safecompress.checks.class_order import misplaced_classes
from safecompress.checks.preparation import better_preparation
from safecompress.checks.reference_learner import better_classifier
from safecompress.checks.skill import MILD, Skill, arrays_of, probabilities, skill_of
from safecompress.errors import ModelError
from safecompress.protocols import Outputs, Pool, Rows
from safecompress.randomness import permutation
from safecompress.stats import clopper_pearson

_FEWEST = 30
"""Fewest members from which anything is concluded."""
_ROWS = 20_000
"""Most rows of each group that are looked at."""
_ERRORS = 3.9
"""Standard errors beyond which chance is ruled out, one in 20,000."""
_SEEN = 2.0
"""Standard errors from which an association counts as found."""
_LEAST = 0.115
"""Smallest correlation with the labels that counts as skill."""
_BELOW = 0.05
"""Least difference of accuracies of the two groups that proves a fault."""
_RARER = 2.5
"""Standard errors by which a class that is always predicted must be rarer than another."""
_OVERSURE = 0.1
"""Largest excess of sureness over accuracy, of members and after making the model milder."""
_FAR_OVERSURE = 0.25
"""The same without correcting frequencies of classes, which weights of classes may put off."""
_BORNE_OUT = 0.6
"""Least share of the association that the milder model claims; honest models have all of it."""

_INPUTS = "wrong preprocessing (a forgotten scaler, other statistics, another order of columns)"
_ORDER = "another order of the classes"
_ROWS_MIXED = "labels in another order than the rows"
_GROUPS = "members and non-members swapped"
_STATED_LEVEL = 0.9999
"""Confidence level at which a measured accuracy contradicts a stated one."""
_STATED = 0.05
"""Difference from a stated accuracy that another sample of rows explains."""


@dataclass(frozen=True)
class Objection:
    """Why outputs and labels do not look as if they belonged together.

    Args:
        text: what is odd, and the likely causes.
        proven: whether no trained model answers so; otherwise it may be a very weak one.
    """

    text: str
    proven: bool


def require_plausible(
    outputs: Pool[Outputs],
    rows: Pool[Rows] | None = None,
    *,
    where: str,
    accuracy: float | None = None,
    ask: Callable[[Rows], Outputs] | None = None,
) -> str:
    """Refuse outputs that no trained model gives on its own rows, and return what is in doubt.

    Args:
        outputs: the model's outputs for members and non-members.
        rows: the rows with their inputs; None where only outputs are known.
        where: the model's file or name, for messages.
        accuracy: the model's accuracy on rows it was not trained on, in [0, 1], as its owner knows
            it; None where it is not stated. One that the non-members bear out settles every doubt.
        ask: returns the model's outputs on rows; None where it cannot be asked.

    Returns:
        A doubt that the accuracy does not settle, in words; empty without one.

    Raises:
        ModelError: names what contradicts the labels or the accuracy, and the likely causes.
    """
    found = objection_to(outputs, rows, ask=ask)
    if found is not None and found.proven:
        raise ModelError(f"{where}: {found.text} A verdict would be a false PASS.")
    if accuracy is not None:
        _require_accuracy(outputs.nonmembers, accuracy, where=where)
    return "" if found is None or accuracy is not None else found.text


def objection_to(
    outputs: Pool[Outputs],
    rows: Pool[Rows] | None = None,
    *,
    ask: Callable[[Rows], Outputs] | None = None,
) -> Objection | None:
    """Return why outputs and labels hardly belong together; None where nothing speaks against it.

    Members are rows that the model was trained on, so a sound model knows something of them, and is
    not much surer of them than it is right. A model that returns the same for every row leaks
    nothing and is plausible, unless it claims more than the frequencies of the classes although a
    simple classifier of its inputs shows that there was something to learn.

    Args:
        outputs: the model's outputs for members and non-members.
        rows: the rows with their inputs; None where only outputs are known.
        ask: returns the model's outputs on rows; None where it cannot be asked.
    """
    members = outputs.members
    if len(members) < _FEWEST:
        return None
    skill = skill_of(_sample(members))
    found = _constant(members, rows, skill) if skill.constant else _unlike(outputs, rows, skill)
    if rows is not None and ask is not None and (found is None or not found.proven):
        # What is proven without a question is said in the same words of models and of files.
        better = better_preparation(ask, rows.members, members.correct)
        found = _Problem(better, (_INPUTS,)) if better else found
    if found is None:
        return None
    return Objection(f"{found.problem}. Likely {', or '.join(found.causes)}.", found.proven)


def _require_accuracy(nonmembers: Outputs, stated: float, *, where: str) -> None:
    """Refuse non-members whose accuracy is not the one that the model is known to have."""
    right, n = int(nonmembers.correct.sum()), len(nonmembers)
    span = clopper_pearson(right, n, level=_STATED_LEVEL)
    if span.low - _STATED <= stated <= span.high + _STATED:
        return
    causes: tuple[str, ...] = (_INPUTS, _ORDER, _ROWS_MIXED)
    if right > stated * n:
        causes = ("non-members that the model was trained on", "another model")
    raise ModelError(
        f"{where}: right on {right / n:.1%} of {n} non-members, though it is stated to be right on "
        f"{stated:.1%} of rows it was not trained on. Likely {', or '.join(causes)}."
    )


@dataclass(frozen=True)
class _Problem:
    """What is odd about outputs, in words, and its likely causes, the likeliest first."""

    problem: str
    causes: tuple[str, ...]
    proven: bool = True


_Found = _Problem | None


def _unlike(outputs: Pool[Outputs], rows: Pool[Rows] | None, skill: Skill) -> _Found:
    """Return how outputs that vary differ from those of a model on rows it was trained on."""
    members = outputs.members
    return (
        _wrong_order(outputs)
        or _guessing(skill)
        or _oversure(skill)
        or _below_others(members, outputs.nonmembers)
        or _below_simple(members, rows, skill)
    )


def _constant(members: Outputs, rows: Pool[Rows] | None, skill: Skill) -> _Found:
    """Return what speaks against a constant, which inputs far out of range also make of a model.

    A model that learned nothing but how frequent the classes are predicts the most frequent one,
    and claims no more than its frequency.
    """
    counts = members.labels.bincount(minlength=members.classes).double()
    p = members.logits[0].double().softmax(dim=0)
    usual, predicted = int(counts.argmax()), int(p.argmax())
    noise = math.sqrt(float(counts[usual] + counts[predicted]))
    rarer = float(counts[usual] - counts[predicted]) > _RARER * noise
    rarer = rarer and float(p[predicted] - p[usual]) >= _OVERSURE
    if not rarer and float(p[predicted] - counts[predicted] / len(members)) <= _FAR_OVERSURE:
        return None
    found = _below_simple(members, rows, skill)
    if found is None:
        return None
    return _Problem(f"returns the same for every row, although {found.problem}", found.causes)


def _sample(outputs: Outputs) -> Outputs:
    if len(outputs) <= _ROWS:
        return outputs
    return outputs.take(permutation(len(outputs), 0, "plausibility")[:_ROWS])


def _wrong_order(outputs: Pool[Outputs]) -> _Found:
    both = [arrays_of(_sample(o)) for o in (outputs.members, outputs.nonmembers)]
    logits, labels = (np.concatenate(parts) for parts in zip(*both, strict=True))
    found = misplaced_classes(probabilities(logits), labels)
    return None if found is None else _Problem(found.text, (_ORDER, _INPUTS, _ROWS_MIXED))


def _guessing(skill: Skill) -> _Found:
    rows = f"right on {skill.accuracy:.1%} of {skill.n} members"
    if skill.association < -_ERRORS:
        return _Problem(f"{rows}, which is below chance", (_ORDER, _ROWS_MIXED, _INPUTS))
    bound = skill.association + 3 < _LEAST * skill.scale
    if skill.association < _SEEN and bound and skill.scale > 0:
        return _Problem(
            f"{rows}, no better than guessing: it learned nothing, or these are not its inputs "
            "and labels",
            (_INPUTS, _ROWS_MIXED, _ORDER),
        )
    return None


def _oversure(skill: Skill) -> _Found:
    if skill.one_hot:
        return None
    claims = any(
        found + _ERRORS < share * claimed
        for (found, claimed), share in ((skill.corrected, 1 / MILD), (skill.milder, _BORNE_OUT))
    )
    sure = any(
        excess > bound and errors > _ERRORS
        for (excess, errors), bound in (
            (skill.excess, _OVERSURE),
            (skill.raw_excess, _FAR_OVERSURE),
        )
    )
    if not (claims or sure):
        return None
    return _Problem(
        f"right on {skill.accuracy:.1%} of {skill.n} members and far surer of them than that; a "
        "model is not so wrong about rows that it was trained on",
        (_INPUTS, _ROWS_MIXED, _ORDER),
    )


def _below_others(members: Outputs, nonmembers: Outputs) -> _Found:
    first, second = (float(o.correct.double().mean()) for o in (members, nonmembers))
    n, m = len(members), len(nonmembers)
    pooled = (first * n + second * m) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if m < _FEWEST or second - first < max(_BELOW, _ERRORS * error):
        return None
    return _Problem(
        f"right on {first:.1%} of {n} members and on {second:.1%} of {m} non-members, though it "
        "was trained on the members",
        (_GROUPS, f"{_ROWS_MIXED} among the members"),
    )


def _below_simple(members: Outputs, rows: Pool[Rows] | None, skill: Skill) -> _Found:
    if rows is None:
        return None
    found = better_classifier(members, rows.members, skill)
    if found is None:
        return None
    causes: tuple[str, ...] = (_INPUTS, _ORDER, _ROWS_MIXED)
    if not found.contradicts:
        causes += ("a model that is meant to be so weak",)
    return _Problem(found.text, causes, proven=found.contradicts)
