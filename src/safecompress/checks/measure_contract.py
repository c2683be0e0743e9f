"""`MEASURE_RULES`: a measure's value lies in its interval and does not depend on row order.

`safecompress.checks.contract.violations` runs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch

from safecompress.attacks.held import copied_tensors
from safecompress.checks.imagined import ROWS, imagined_subject
from safecompress.checks.measures import Measure
from safecompress.checks.subject import Subject
from safecompress.errors import MissingEvidenceError, UndecidableError
from safecompress.protocols import Estimate, Evidence
from safecompress.randomness import permutation
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    global_generators,
    has_a_name,
    holds_only_its_options,
    other_global_generators,
    unknown_needs,
)

_LEVEL, _HIGHER = 0.9, 0.99
_CLOSE = 1e-6
"""Relative tolerance: the position of a row in a matrix product may change its last bits."""
_KNOWLEDGE = ("auditor", "shadow", "none")
_WORSE = ("higher", "lower")
_CANARIES = "canaries"
"""A need that the subject meets and not the evidence: canaries are other rows."""


def _says_what_it_needs(measure: Measure, seed: int) -> Iterator[str]:
    if getattr(measure, "worse", None) not in _WORSE:
        yield "it does not say which direction is worse; set worse to 'higher' or 'lower'"
    known = {field.name for field in fields(Evidence)} - {"outputs"}
    yield from unknown_needs(measure, known | {_CANARIES})
    for needed in sorted(measure.requires & (known | {_CANARIES})):
        subject = _without(imagined_subject(measure, seed=seed), needed)
        try:
            measure.estimate(subject, level=_LEVEL)
        except MissingEvidenceError:
            continue
        yield f"it requires '{needed}' and does as well without it"


def _without(subject: Subject, needed: str) -> Subject:
    missing: dict[str, Any] = {needed: None}
    if needed == _CANARIES:
        return replace(subject, **missing)
    return replace(subject, evidence=subject.evidence.map(lambda e: replace(e, **missing)))


def _lies_in_its_interval(measure: Measure, seed: int) -> Iterator[str]:
    subject = imagined_subject(measure, seed=seed)
    estimate = measure.estimate(subject, level=_LEVEL)
    numbers = (estimate.value, estimate.low, estimate.high)
    if not all(map(math.isfinite, numbers)):
        yield f"its value {estimate.value} in [{estimate.low}, {estimate.high}] is not finite"
    elif not estimate.low <= estimate.value <= estimate.high:
        yield f"its value {estimate.value:.4g} is outside [{estimate.low:.4g}, {estimate.high:.4g}]"
    for group in ("members", "nonmembers"):
        rows = getattr(estimate, f"n_{group}")
        if not 0 <= rows <= ROWS:
            yield f"it rests on {rows} {group}; there are {ROWS}"
    if estimate.knowledge not in _KNOWLEDGE:
        yield f"its knowledge is {estimate.knowledge!r}; expected one of {', '.join(_KNOWLEDGE)}"
    wider = measure.estimate(subject, level=_HIGHER)
    if wider.low > estimate.low + _CLOSE or wider.high < estimate.high - _CLOSE:
        yield (
            f"its interval is [{wider.low:.4g}, {wider.high:.4g}] at level {_HIGHER:g} and no "
            f"narrower at {_LEVEL:g}: [{estimate.low:.4g}, {estimate.high:.4g}]"
        )


def _repeats_itself(measure: Measure, seed: int) -> Iterator[str]:
    state = global_generators()
    first = measure.estimate(imagined_subject(measure, seed=seed), level=_LEVEL)
    if global_generators() != state:
        yield GLOBAL_DRAW
    with other_global_generators():
        second = measure.estimate(imagined_subject(measure, seed=seed), level=_LEVEL)
    if _figures(first) != _figures(second):
        yield "the same rows give different figures"
    shuffled = measure.estimate(_shuffled(imagined_subject(measure, seed=seed), seed), level=_LEVEL)
    pairs = zip(_figures(first), _figures(shuffled), strict=True)
    if not all(math.isclose(a, b, rel_tol=_CLOSE, abs_tol=_CLOSE) for a, b in pairs):
        yield "its figures depend on the order of the rows"


def _figures(estimate: Estimate) -> tuple[float, ...]:
    return estimate.value, estimate.low, estimate.high


def _shuffled(subject: Subject, seed: int) -> Subject:
    order = subject.evidence.map(lambda e: permutation(len(e.outputs), seed, "contract", "order"))
    return replace(
        subject,
        evidence=subject.evidence.zip(order, Evidence.take),
        halves=subject.halves.zip(order, lambda half, index: half[index]),
    )


def _changes_nothing(measure: Measure, seed: int) -> Iterator[str]:
    subject = imagined_subject(measure, seed=seed)
    originals = subject.evidence.map(copied_tensors)
    measure.estimate(subject, level=_LEVEL)
    tensors = subject.evidence.map(copied_tensors)
    for before, now in (
        (originals.members, tensors.members),
        (originals.nonmembers, tensors.nonmembers),
    ):
        if not all(map(torch.equal, before, now)):
            yield "it changes its evidence in place"
            return
    models = (subject.evidence.members.target, subject.evidence.members.parent_target)
    if any(model is not None and model.training for model in models):
        yield "it leaves a model in training mode"


def _is_no_different_from_itself(measure: Measure, seed: int) -> Iterator[str]:
    subject = imagined_subject(measure, seed=seed)
    try:
        difference = measure.difference(subject, subject, level=_LEVEL)
    except UndecidableError:
        # Measures of an attack on the dense model have no difference to that model.
        return
    if abs(difference.value) > _CLOSE or not difference.low <= difference.value <= difference.high:
        yield (
            f"a model differs from itself by {difference.value:.4g} in [{difference.low:.4g}, "
            f"{difference.high:.4g}]; expected 0"
        )


MEASURE_RULES = (
    holds_only_its_options,
    has_a_name,
    _says_what_it_needs,
    _lies_in_its_interval,
    _repeats_itself,
    _changes_nothing,
    _is_no_different_from_itself,
)
"""The rules that a measure must keep."""
