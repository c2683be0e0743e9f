"""`imagined_subject`: a small model that has memorized its members, with all evidence on it.

The rules of measures run on it, so that a contract needs no training.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn

from safecompress.attacks.imagined import (
    MemorizingModel,
    imaginary_internals,
    imaginary_judges,
    imaginary_references,
)
from safecompress.checks.canaries import CanaryScores
from safecompress.checks.measures import Measure
from safecompress.checks.subject import Subject
from safecompress.protocols import Evidence, GroupColumn, InputRange, Outputs, Pool, Rows
from safecompress.randomness import generator
from safecompress.train.predict import predict

ROWS = 200
"""Members, and as many non-members."""
WIDTH = 12
CLASSES = 3
COLUMN = "region"
"""The one column of groups that the rows have where a measure requires groups."""
GROUPS = ("north", "south", "west")

_OF_OUTPUTS: Mapping[str, Callable[[Outputs, int], object]] = {
    "references": lambda outputs, seed: imaginary_references(outputs, seed=seed),
    "judges": lambda outputs, seed: imaginary_judges(outputs, seed=seed),
    "internals": lambda outputs, seed: imaginary_internals(outputs, seed=seed),
}
"""How each field of the evidence that follows from outputs is made."""

_RADIUS = 0.5
_DENSITY = 0.25
_VERSIONS = 4
_SHIFT = 0.05
"""Standard deviation of the noise that makes another version from the model's weights."""


def imagined_subject(measure: Measure, *, seed: int) -> Subject:
    """Return a model that leaks its members, with the evidence that the measure requires alone.

    The rows have 12 yes/no columns, as numbers −½ and ½. A linear rule gives the labels, of which
    some 15 % are then changed. The model is that rule plus a bump around every member, which
    reproduces the changed labels of members only.

    Args:
        measure: the measure; a required field that this function cannot make stays None.
        seed: seed of the rows, the model and the evidence.
    """
    rows, target = _rows_and_model(seed)
    halves = Pool(torch.arange(ROWS), torch.arange(ROWS, 2 * ROWS))
    evidence = Evidence(predict(target, rows), rows=rows, target=target)
    evidence = replace(evidence, span=InputRange(torch.tensor(-0.5), torch.tensor(0.5)))
    for need in sorted(measure.requires):
        evidence = _with(evidence, need, seed=seed)
    if "groups" in measure.requires:
        codes = evidence.outputs.ids % len(GROUPS)
        evidence = replace(evidence, groups={COLUMN: GroupColumn(codes, GROUPS)})
    for field in {"rows", "target", "span"} - measure.requires:
        evidence = replace(evidence, **{field: None})  # type: ignore[arg-type]
    pool = halves.map(evidence.take)
    subject = Subject.of(pool, name="imagined", density=_DENSITY, seed=seed)
    if "canaries" in measure.requires:
        return replace(subject, canaries=_canaries(seed))
    return subject


def _canaries(seed: int) -> CanaryScores:
    """Return canaries of a model that has learned most of those it was trained on."""
    draw = generator(seed, "contract", "canaries")
    included = torch.rand(ROWS, generator=draw) < 0.5
    scores = torch.randn(ROWS, generator=draw, dtype=torch.float64) + 3.0 * included
    return CanaryScores(scores, included, delta=1e-5)


def _rows_and_model(seed: int) -> tuple[Rows, MemorizingModel]:
    draw = generator(seed, "contract", "rows")
    inputs = (torch.rand(2 * ROWS, WIDTH, generator=draw) < 0.5).float() - 0.5
    model = MemorizingModel(
        inputs[:ROWS],
        torch.randint(CLASSES, (ROWS,), generator=draw),
        torch.full((ROWS,), _RADIUS),
        classes=CLASSES,
        source=draw,
    )
    with torch.no_grad():
        rule = (inputs @ model.weight).argmax(dim=1)
        model.weight.mul_(4)
        wrong = torch.rand(2 * ROWS, generator=draw) < 0.15
        labels = torch.where(wrong, (rule + 1) % CLASSES, rule)
        model.bumps.copy_(4.0 * nn.functional.one_hot(labels[:ROWS], CLASSES).float())
    return Rows(inputs, labels, torch.arange(2 * ROWS)), model.eval()


def _with(evidence: Evidence, need: str, *, seed: int) -> Evidence:
    """Return the evidence with one more field."""
    outputs = evidence.outputs
    if need in _OF_OUTPUTS:
        return replace(evidence, **{need: _OF_OUTPUTS[need](outputs, seed)})  # type: ignore[arg-type]
    if need == "parent":
        return replace(evidence, parent=_outputs_of(_version(evidence, seed, 0), evidence))
    if need == "parent_target":
        return replace(evidence, parent_target=_version(evidence, seed, 0))
    if need == "family":
        versions = (_version(evidence, seed, i) for i in range(_VERSIONS))
        return replace(evidence, family=tuple(_outputs_of(v, evidence) for v in versions))
    return evidence


def _version(evidence: Evidence, seed: int, number: int) -> nn.Module:
    """Return another version of the model, its weights a little apart."""
    version = copy.deepcopy(evidence.target)
    if version is None:
        raise ValueError("the imagined evidence has no target yet")
    draw = generator(seed, "contract", "version", number)
    with torch.no_grad():
        for parameter in version.parameters():
            parameter.add_(_SHIFT * torch.randn(parameter.shape, generator=draw))
    return version


def _outputs_of(model: nn.Module, evidence: Evidence) -> Outputs:
    if evidence.rows is None:
        raise ValueError("the imagined evidence has no rows yet")
    return predict(model, evidence.rows)
