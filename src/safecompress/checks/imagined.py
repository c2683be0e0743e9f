"""`imagined_subject`: a small model that knows some rows by heart, as its judge sees it."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from safecompress.attacks.imagined import MemorizingModel, imaginary_internals, imaginary_references
from safecompress.checks.measures import Measure
from safecompress.checks.subject import Subject
from safecompress.protocols import Evidence, InputRange, Outputs, Pool, Rows
from safecompress.randomness import generator
from safecompress.train.predict import predict

ROWS = 200
"""Members, and as many non-members."""
WIDTH = 12
CLASSES = 3

_RADIUS = 0.5
_DENSITY = 0.25
_SIBLINGS = 4
_APART = 0.05
"""How far the weights of another version of the model are from its own."""


def imagined_subject(measure: Measure, *, seed: int) -> Subject:
    """Return a model that leaks its members, with the evidence the measure requires and no more.

    The rows are 12 yes/no columns, as numbers −½ and ½, labeled by a linear rule that is right on
    most of them; the model is the rule and a bump around every member.

    Args:
        measure: what it requires is imagined; a field that is not known here stays None.
        seed: of the rows, the model and all else.
    """
    rows, target = _rows_and_model(seed)
    halves = Pool(torch.arange(ROWS), torch.arange(ROWS, 2 * ROWS))
    evidence = Evidence(predict(target, rows), rows=rows, target=target)
    evidence = replace(evidence, span=InputRange(torch.tensor(-0.5), torch.tensor(0.5)))
    for need in sorted(measure.requires):
        evidence = _with(evidence, need, seed=seed)
    for field in {"rows", "target", "span"} - measure.requires:
        evidence = replace(evidence, **{field: None})  # type: ignore[arg-type]
    pool = halves.map(evidence.take)
    return Subject.of(pool, name="imagined", density=_DENSITY, seed=seed)


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
        said = (inputs @ model.weight).argmax(dim=1)
        model.weight.mul_(4)
        wrong = torch.rand(2 * ROWS, generator=draw) < 0.15
        labels = torch.where(wrong, (said + 1) % CLASSES, said)
        model.bumps.copy_(4.0 * nn.functional.one_hot(labels[:ROWS], CLASSES).float())
    return Rows(inputs, labels, torch.arange(2 * ROWS)), model.eval()


def _with(evidence: Evidence, need: str, *, seed: int) -> Evidence:
    """Return the evidence with one more field."""
    outputs = evidence.outputs
    if need == "references":
        return replace(evidence, references=imaginary_references(outputs, seed=seed))
    if need == "internals":
        return replace(evidence, internals=imaginary_internals(outputs, seed=seed))
    if need == "parent":
        return replace(evidence, parent=_said_by(_version(evidence, seed, 0), evidence))
    if need == "parent_target":
        return replace(evidence, parent_target=_version(evidence, seed, 0))
    if need == "family":
        versions = (_version(evidence, seed, i) for i in range(_SIBLINGS))
        return replace(evidence, family=tuple(_said_by(v, evidence) for v in versions))
    return evidence


def _version(evidence: Evidence, seed: int, number: int) -> nn.Module:
    """Return another version of the model, its weights a little apart."""
    made = copy.deepcopy(evidence.target)
    if made is None:
        raise ValueError("the imagined evidence has no target yet")
    draw = generator(seed, "contract", "version", number)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(_APART * torch.randn(parameter.shape, generator=draw))
    return made


def _said_by(model: nn.Module, evidence: Evidence) -> Outputs:
    if evidence.rows is None:
        raise ValueError("the imagined evidence has no rows yet")
    return predict(model, evidence.rows)
