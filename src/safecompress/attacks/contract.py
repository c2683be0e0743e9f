"""What every attack must keep to, built in or published by somebody else, as one function.

>>> from safecompress.attacks import ATTACKS
>>> violations(ATTACKS.build("loss", where="example"))
()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from safecompress.attacks.controls import no_leak, planted_leak
from safecompress.attacks.held import copied_tensors
from safecompress.attacks.imagined import evidence_for, synthetic_outputs
from safecompress.protocols import (
    SIGNALS,
    Attack,
    AttackResult,
    Evidence,
    Internals,
    Outputs,
    Pool,
    Rows,
    map_inputs,
)
from safecompress.randomness import permutation
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    has_a_name,
    holds_only_its_options,
    other_global_generators,
    unknown_needs,
)

__all__ = ["synthetic_outputs", "violations"]

_KNOWLEDGE = ("auditor", "shadow")
_ROWS = 400
_TOLERANCE = 1e-5
"""Relative; where a row stands in a matrix product may move its last bits."""


def violations(attack: Attack, *, seed: int = 0) -> tuple[str, ...]:
    """Return what the attack breaks, in words; empty when it keeps to everything.

    It must be a frozen dataclass that holds nothing but its options, find a planted leak, stay
    silent without one, give the same scores for the same seed, whatever the row order, leave
    global generators and its evidence alone, never look at the judged half, and score saturated
    and enormous logits with finite numbers. Whatever it needs besides outputs is imagined, and the
    leak is planted there: an attack that asks for more than it reads is caught. One that is
    `label_only` reads predicted classes and nothing else of the outputs.

    Args:
        attack: the attack; it is run about ten times on 400 rows.
        seed: of the synthetic outputs and of the attack.
    """
    rules = (
        holds_only_its_options,
        has_a_name,
        _declares_what_it_needs,
        _passes_controls,
        _repeats_itself,
        _ignores_the_judged_half,
        _survives_extremes,
        _reads_labels_only,
    )
    return broken(attack, rules, seed=seed)


def _declares_what_it_needs(attack: Attack, seed: int) -> Iterator[str]:
    del seed
    known = {field.name for field in fields(Evidence)} - {"outputs"}
    yield from unknown_needs(attack, known)
    if attack.signals not in SIGNALS:
        yield f"its signals are {attack.signals!r}; expected one of {', '.join(SIGNALS)}"
    if attack.knowledge not in _KNOWLEDGE:
        names = ", ".join(_KNOWLEDGE)
        yield f"its knowledge is {attack.knowledge!r}; expected one of {names}"


def _passes_controls(attack: Attack, seed: int) -> Iterator[str]:
    outputs = synthetic_outputs(_ROWS, seed=seed)
    for control in (planted_leak, no_leak):
        result = control(outputs, attack, seed=seed)
        if not result.ok:
            yield result.message


def _repeats_itself(attack: Attack, seed: int) -> Iterator[str]:
    pool = _leaky_pool(attack, seed)
    before = pool.map(copied_tensors)
    state = global_generators()
    first = _run(attack, pool, seed=seed)
    if global_generators() != state:
        yield GLOBAL_DRAW
    with other_global_generators():
        second = _run(attack, pool, seed=seed)
    if not _all(pool.map(copied_tensors).zip(before, _equal)):
        yield "it changes its evidence in place"
    if not _all(first.scores.zip(second.scores, torch.equal)):
        yield "the same seed gives different scores"
    order = pool.map(lambda e: permutation(len(e.outputs), seed, "contract", "order"))
    shuffled = _run(attack, pool.zip(order, Evidence.take), seed=seed, order=order)
    if not _all(_by_id(first).zip(_by_id(shuffled), _close)):
        yield "scores depend on the order of the rows"


def _equal(now: tuple[Tensor, ...], before: tuple[Tensor, ...]) -> bool:
    return all(map(torch.equal, now, before))


def _ignores_the_judged_half(attack: Attack, seed: int) -> Iterator[str]:
    pool = _leaky_pool(attack, seed)
    changed = pool.map(_with_other_judged_rows)
    first, second = _run(attack, pool, seed=seed), _run(attack, changed, seed=seed)
    if not math.isclose(first.threshold, second.threshold, rel_tol=_TOLERANCE):
        yield "its threshold changes with the judged half"
    # The judged half's first row is the same in both; it stands right behind the fit half.
    place = pool.map(lambda e: 0 if attack.learns else len(e.outputs) // 2)
    kept = [r.scores.zip(place, lambda s, i: s[i : i + 1]) for r in (first, second)]
    if not _all(kept[0].zip(kept[1], _close)):
        yield "a row's score changes with the other rows of the judged half"


def _survives_extremes(attack: Attack, seed: int) -> Iterator[str]:
    for name, scale in (("±1e4", 1e4), ("saturated", 60.0), ("equal", 0.0)):
        pool = _leaky_pool(attack, seed, changed=partial(_only_signs, scale=scale))
        scores = _run(attack, pool, seed=seed).scores
        if not _all(scores.map(lambda s: bool(torch.isfinite(s).all()))):
            yield f"scores of {name} logits are not finite"


def _reads_labels_only(attack: Attack, seed: int) -> Iterator[str]:
    if not attack.label_only:
        return
    scores = [
        _run(attack, _leaky_pool(attack, seed, changed=change), seed=seed).scores
        for change in (_as_they_are, _only_classes)
    ]
    if not _all(scores[0].zip(scores[1], _close)):
        yield "it says that it reads predicted classes only (label_only), and reads logits"


def _only_classes(outputs: Outputs) -> Outputs:
    predicted = one_hot(outputs.logits.argmax(1), outputs.classes).float()
    return Outputs(predicted, outputs.labels, outputs.ids)


def _only_signs(outputs: Outputs, *, scale: float) -> Outputs:
    return Outputs(outputs.logits.sign() * scale, outputs.labels, outputs.ids)


def _as_they_are(outputs: Outputs) -> Outputs:
    return outputs


def _leaky_pool(
    attack: Attack, seed: int, *, changed: Callable[[Outputs], Outputs] = _as_they_are
) -> Pool[Evidence]:
    """Return evidence about members that leak and about non-members, all outputs `changed`."""
    outputs = changed(synthetic_outputs(_ROWS, seed=seed))
    members = torch.arange(_ROWS) < _ROWS // 2
    evidence = evidence_for(attack, outputs, seed=seed, leaking=members)
    evidence = _mapped(evidence, changed)
    return Pool(evidence.take(members), evidence.take(~members))


def _mapped(evidence: Evidence, change: Callable[[Outputs], Outputs]) -> Evidence:
    """Return the evidence with what every model said changed."""
    return replace(
        evidence,
        outputs=change(evidence.outputs),
        parent=None if evidence.parent is None else change(evidence.parent),
        family=None if evidence.family is None else tuple(map(change, evidence.family)),
    )


def _run(
    attack: Attack, pool: Pool[Evidence], *, seed: int, order: Pool[Tensor] | None = None
) -> AttackResult:
    """Run the attack; the fit half is each group's first half before it was put in `order`."""
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) < len(e.outputs) // 2)
    if order is not None:
        halves = halves.zip(order, lambda mask, index: mask[index])
    return attack(pool, halves=halves, seed=seed)


def _with_other_judged_rows(evidence: Evidence) -> Evidence:
    """Return evidence whose judged half is about other rows, all but its first one."""
    evidence = _mapped(evidence, lambda o: Outputs(_other_half(o.logits), o.labels, o.ids))
    if (inside := evidence.internals) is not None:
        features, norms = map(_other_half, (inside.features, inside.gradient_norms))
        evidence = replace(evidence, internals=Internals(features, norms, inside.layers))
    if (each := evidence.each_output) is not None:
        evidence = replace(evidence, each_output=_other_half(each))
    if (rows := evidence.rows) is not None:
        inputs = map_inputs(_other_half, rows.inputs)
        evidence = replace(evidence, rows=Rows(inputs, rows.labels, rows.ids))
    return evidence


def _other_half(values: Tensor) -> Tensor:
    first_changed = len(values) // 2 + 1
    values = values.clone()
    values[first_changed:] = values[first_changed:].flip(1) * 3.0
    return values


def _by_id(result: AttackResult) -> Pool[Tensor]:
    return result.scores.zip(result.ids, lambda s, i: s[torch.argsort(i)])


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE)


def _all(pool: Pool[bool]) -> bool:
    return pool.members and pool.nonmembers
