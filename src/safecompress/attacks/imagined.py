"""What an attack needs besides outputs, imagined around the outputs of rows nobody trained on.

A control has outputs and no more. Whatever else an attack requires is made up so that nothing but
the leak planted in it tells members from non-members; and a leak planted there is out of sight of
who reads one model's outputs alone, so that an attack which ignores what it asks for is caught.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from safecompress.attacks.metric import by_blocks, true_class_log_odds
from safecompress.errors import UndecidableError
from safecompress.protocols import (
    Attack,
    Evidence,
    Internals,
    Outputs,
    References,
    Rows,
    log_odds,
    residuals,
)
from safecompress.randomness import generator
from safecompress.train.predict import predict

_REFERENCES = 16
_REFERENCE_SPREAD = 0.5
"""Of the imaginary references around the model, relative to how its own rows differ."""

_SIBLINGS = 4
_VERSION_SPREAD = 0.05
"""Of other versions of the model around it, relative to how its own rows differ."""

_VERSION_LIFT = 0.15
"""Of leaking rows above other versions: three spreads, and an AUC of .54 for who sees one model."""

_UNSETTLED = 3.0
"""Spread of a family about rows that do not leak, relative to those that do."""

_TOLD_BY_ROWS = 0.1
"""What rows leave open of how sure the model is of them, relative to how its own rows differ."""

_ROW_LIFT = 0.4
"""Of leaking rows above what their inputs tell; an AUC of .61 for who does not see the inputs."""

_FEATURES, _LAYERS = 32, ("imaginary.first", "imaginary.last")
_SIZE_SPREAD = 0.3
"""How much the sizes of imaginary features and gradients vary, in nats."""

_PLANTED_INSIDE = 4.0
"""How far planted features are moved, and by how much planted gradients are shortened, in spreads
of either; sound white-box attacks reach an AUC of 0.9 and more."""

_WIDTH = 16
_RADIUS, _WIDER = 0.32, 2.5
_BUMP = 10.0


def evidence_for(
    attack: Attack, outputs: Outputs, *, seed: int, leaking: Tensor | None = None
) -> Evidence:
    """Return the evidence that `attack` requires of rows nobody trained on, with a leak or without.

    The leak is where the attack alone may look: in the outputs, where it needs no more than those
    and references; else in how far the model is above its parent or its siblings, and how far
    these agree; above what a row's inputs tell; in how wide a region around a row is classified as
    the row is; or inside the model, of which outputs know nothing.

    Args:
        attack: what it requires is imagined; a field that is not known here stays None.
        outputs: of rows nobody trained on; of a target that is imagined too only the labels count.
        seed: of everything imagined.
        leaking: bool (n,), the rows that leak; None for none.

    Raises:
        UndecidableError: where there is a single class and the attack needs references.
    """
    leaks = torch.zeros(len(outputs), dtype=torch.bool) if leaking is None else leaking
    evidence, needs = Evidence(outputs), attack.requires
    if "references" in needs:
        evidence = replace(evidence, references=imaginary_references(outputs, seed=seed))
    if not needs - {"references"}:
        return replace(evidence, outputs=_partly_planted(outputs, leaks, seed=seed))
    if "target" in needs:
        evidence = _with_target(evidence, leaks, seed=seed)
    elif "rows" in needs:
        evidence = _with_rows(evidence, leaks, seed=seed)
    if "parent" in needs:
        evidence = _with_parent(evidence, leaks, seed=seed)
    if "family" in needs:
        evidence = _with_family(evidence, leaks, seed=seed)
    if "internals" in needs:
        evidence = _with_internals(evidence, leaks, seed=seed)
    return evidence


def plant(members: Outputs, *, like: Outputs, seed: int) -> Outputs:
    """Return outputs as a model gives them that has memorized `members`.

    Each row's true-class log-odds is raised to one nat above the top-class log-odds of a row drawn
    from the surest quarter of `like`; rows already above it stay as they are. So the strength
    follows the model's own scale, whatever its logits and its accuracy, and every kind of score
    (loss, confidence, entropy, correctness) carries the leak.

    Args:
        members: rows to leak.
        like: rows that say how certain this model can be; at least two classes.
        seed: of the draw.
    """
    certainty = by_blocks(lambda z, _: log_odds(z.double(), z.argmax(dim=1)), like).sort().values
    surest = certainty[len(certainty) * 3 // 4 :]
    drawn = torch.randint(
        len(surest), (len(members),), generator=generator(seed, "control", "plant")
    )
    wanted = surest[drawn] + 1.0
    missing = (wanted - true_class_log_odds(members)).clamp(min=0.0)
    return lifted(members, missing)


def lifted(outputs: Outputs, by: Tensor) -> Outputs:
    """Return outputs whose true-class log-odds are higher by `by`, float64 (n,), in nats."""
    raised = outputs.logits.double().scatter_add(1, outputs.labels[:, None], by[:, None])
    return Outputs(raised.to(outputs.logits.dtype), outputs.labels, outputs.ids)


def imaginary_references(outputs: Outputs, *, seed: int) -> References:
    """Return references that say of the rows what this model says, give or take.

    There are 16, and each saw half of the rows, so that each row was seen by half of them. What a
    reference saw it memorized, as `plant` does.

    Args:
        outputs: of rows nobody trained on; at least two classes.
        seed: of who saw what, of the leak, and of how the references differ.

    Raises:
        UndecidableError: where there is a single class.
    """
    if outputs.classes < 2:
        raise UndecidableError("controls: with a single class references have nothing to say.")
    source = generator(seed, "control", "references")
    shape = _REFERENCES, len(outputs)
    seen = torch.rand(shape, generator=source).argsort(dim=0) < _REFERENCES // 2
    unseen_odds = true_class_log_odds(outputs)
    seen_odds = true_class_log_odds(plant(outputs, like=outputs, seed=seed))
    noise = torch.randn(shape, generator=source, dtype=torch.float64)
    noise *= _REFERENCE_SPREAD * unseen_odds.std()
    return References(torch.where(seen, seen_odds, unseen_odds) + noise, seen)


def imaginary_internals(outputs: Outputs, *, seed: int) -> Internals:
    """Return internals that fit the outputs and say nothing more of who is a member.

    Features are a direction for each class and noise, of another size for each row; a gradient is
    as long as p − y and the features make it, give or take.

    Args:
        outputs: of rows nobody trained on.
        seed: of the features and of how much the gradients of each layer vary.
    """
    source = generator(seed, "control", "internals")
    n = len(outputs)
    centers = torch.randn(outputs.classes, _FEATURES, generator=source)
    noise = torch.randn(n, _FEATURES, generator=source)
    size = torch.exp(_SIZE_SPREAD * torch.randn(n, 1, generator=source))
    features = size * (centers[outputs.labels] + noise)
    length = residuals(outputs.logits, outputs.labels).length
    last = length * torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)
    vary = _SIZE_SPREAD * torch.randn(n, generator=source, dtype=torch.float64)
    return Internals(features, torch.stack([last * torch.exp(vary), last], dim=1), _LAYERS)


def plant_inside(internals: Internals, leaks: Tensor) -> Internals:
    """Return internals as a model has them that has memorized the rows of `leaks`, bool (n,).

    Features move along the direction of all ones, and every gradient is shorter, relative to what
    the outputs alone make it: whoever reads either finds the leak.
    """
    features, column = internals.features, leaks[:, None]
    moved = features + _PLANTED_INSIDE * features.std() / features.shape[1] ** 0.5 * column
    shorter = internals.gradient_norms * torch.exp(-_PLANTED_INSIDE * _SIZE_SPREAD * column)
    return Internals(moved, shorter, internals.layers)


class MemorizingModel(nn.Module):
    """An imaginary model that knows rows by heart, each in a region of its own.

    A random linear classifier, and around every row it knows a bump of that row's label.

    Args:
        centers: float32 (n, width), the rows.
        labels: int64 (n,).
        radii: float32 (n,), how far each bump reaches.
        classes: number of classes.
        source: of the linear classifier.
    """

    centers: Tensor
    radii: Tensor

    def __init__(
        self,
        centers: Tensor,
        labels: Tensor,
        radii: Tensor,
        *,
        classes: int,
        source: torch.Generator,
    ) -> None:
        super().__init__()
        width = centers.shape[1]
        self.weight = nn.Parameter(torch.randn(width, classes, generator=source) * width**-0.5)
        self.bumps = nn.Parameter(_BUMP * one_hot(labels, classes).float())
        self.register_buffer("centers", centers)
        self.register_buffer("radii", radii)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (n, width) → (n, classes)."""
        # Matrix products lose the digits of small distances, and how many hangs on the batch.
        distances = torch.cdist(x, self.centers, compute_mode="donot_use_mm_for_euclid_dist")
        near = torch.exp(-0.5 * (distances / self.radii).square())
        return x @ self.weight + near @ self.bumps


def _partly_planted(outputs: Outputs, leaks: Tensor, *, seed: int) -> Outputs:
    planted = plant(outputs.take(leaks), like=outputs, seed=seed)
    logits = outputs.logits.clone()
    logits[leaks] = planted.logits
    return Outputs(logits, outputs.labels, outputs.ids)


def _with_target(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add rows that a model knows by heart, all of them right, the leaking ones more widely."""
    outputs = evidence.outputs
    source = generator(seed, "control", "target")
    inputs = torch.randn(len(outputs), _WIDTH, generator=source)
    radii = _RADIUS * torch.exp(0.2 * torch.randn(len(outputs), generator=source))
    radii = torch.where(leaks, _WIDER * radii, radii)
    rows = Rows(inputs, outputs.labels, outputs.ids)
    target = MemorizingModel(inputs, outputs.labels, radii, classes=outputs.classes, source=source)
    return replace(evidence, outputs=predict(target, rows), rows=rows, target=target)


def _with_rows(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add rows whose inputs tell how sure the model is of them, and lift the leaking rows' odds."""
    outputs = evidence.outputs
    source = generator(seed, "control", "rows")
    odds, spread = true_class_log_odds(outputs), _spread(outputs)
    # With a single class all odds are infinite, and no row is easier than another.
    told = ((odds - odds.mean()) / spread).nan_to_num(nan=0.0)
    told += _TOLD_BY_ROWS * torch.randn(len(outputs), generator=source, dtype=torch.float64)
    inputs = torch.randn(len(outputs), _WIDTH, generator=source)
    inputs[:, 0] = told.float()
    turn = torch.linalg.qr(torch.randn(_WIDTH, _WIDTH, generator=source)).Q
    rows = Rows(inputs @ turn, outputs.labels, outputs.ids)
    return replace(evidence, outputs=lifted(outputs, _ROW_LIFT * spread * leaks), rows=rows)


def _with_parent(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add a parent that is as sure of every row as the model is, give or take, but for the leak."""
    outputs = evidence.outputs
    source, spread = generator(seed, "control", "parent"), _spread(outputs)
    noise = torch.randn(len(outputs), generator=source, dtype=torch.float64)
    return replace(
        evidence,
        outputs=lifted(outputs, _VERSION_LIFT * spread * leaks),
        parent=lifted(outputs, _VERSION_SPREAD * spread * noise),
    )


def _with_family(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add siblings around the model; of leaking rows it is surer than they, and they agree."""
    outputs = evidence.outputs
    source, spread = generator(seed, "control", "family"), _spread(outputs)
    noise = torch.randn(_SIBLINGS, len(outputs), generator=source, dtype=torch.float64)
    if bool(leaks.any()):
        noise *= torch.where(leaks, 1.0, _UNSETTLED)
    return replace(
        evidence,
        outputs=lifted(outputs, _VERSION_LIFT * spread * leaks),
        family=tuple(lifted(outputs, _VERSION_SPREAD * spread * one) for one in noise),
    )


def _with_internals(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add what the model computes inside, and plant the leak there."""
    inside = imaginary_internals(evidence.outputs, seed=seed)
    return replace(evidence, internals=plant_inside(inside, leaks))


def _spread(outputs: Outputs) -> Tensor:
    """Return how much the rows' log-odds differ; 1 where they do not."""
    spread = true_class_log_odds(outputs).std()
    return torch.where(spread > 0, spread, 1.0)
