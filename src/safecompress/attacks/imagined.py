"""`evidence_for`, `synthetic_outputs`: imaginary evidence for the controls of attacks.

A control only has outputs. Everything else that an attack requires is generated such that members
and non-members differ by nothing but a planted leak. The leak is planted in the evidence that the
attack requires and is hardly visible in one model's outputs, so that a control exposes an attack
that ignores the evidence it requires.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from safecompress.attacks.imagined_neighbors import with_neighbors
from safecompress.attacks.imagined_set import with_files
from safecompress.attacks.lift import lifted
from safecompress.attacks.metric import Terms, true_class_log_odds
from safecompress.errors import UndecidableError
from safecompress.protocols import (
    Attack,
    Evidence,
    Internals,
    Judges,
    Outputs,
    ReferenceLogits,
    References,
    Rows,
    by_blocks,
    log_odds,
    residuals,
)
from safecompress.randomness import generator
from safecompress.train.predict import predict

_CLASSES = 10
_REFERENCES = 16
_REFERENCE_SPREAD = 0.5
"""Standard deviation of the imaginary references' log-odds around the model's, relative to the
deviation of the model's log-odds over rows."""

_SIBLINGS = 4
_JUDGES = 2
_VERSION_SPREAD = 0.05
"""Standard deviation of other versions' log-odds around the model's, in the same unit."""

_VERSION_LIFT = 0.15
"""Rise of a leaking row's log-odds above those of other versions, in the same unit: three spreads,
but an AUC of only .54 for an attack that reads one model."""

_UNSETTLED = 3.0
"""Factor by which a family's spread is wider on rows that do not leak."""

_INPUT_NOISE = 0.1
"""Standard deviation of the model's log-odds given a row's inputs, in the same unit."""

_ROW_LIFT = 0.4
"""Rise of a leaking row's log-odds above what its inputs predict, in the same unit; an AUC of .61
for an attack that does not read the inputs."""

_EACH = 8
"""Number of imaginary outputs that are right or wrong each for itself."""
_FEATURES, _LAYERS = 32, ("imaginary.first", "imaginary.last")
_SIZE_SPREAD = 0.3
"""Standard deviation of the log-length of imaginary features and gradients, in nats."""

_PLANTED_INSIDE = 4.0
"""Shift of planted features and shortening of planted gradients, in standard deviations of either;
correct white-box attacks reach an AUC of 0.9 and more."""

_WIDTH = 16
_RADIUS, _WIDER = 0.32, 2.5
_BUMP = 10.0


def synthetic_outputs(n: int, *, classes: int = _CLASSES, seed: int) -> Outputs:
    """Return outputs of an ordinary imaginary model, which trained on none of the rows.

    Its logits are those of a model that has learned something and is far from sure: with ten
    classes it is right on about two thirds of the rows.

    Args:
        n: number of rows.
        classes: number of classes.
        seed: seed of labels and logits.
    """
    source = generator(seed, "contract", "outputs")
    labels = torch.randint(classes, (n,), generator=source)
    logits = torch.randn(n, classes, generator=source)
    logits[torch.arange(n), labels] += 2.0
    return Outputs(logits, labels, torch.arange(n))


def evidence_for(
    attack: Attack, outputs: Outputs, *, seed: int, leaking: Tensor | None = None
) -> Evidence:
    """Return the evidence that `attack` requires on rows not trained on, with or without a leak.

    The leak is planted in the evidence that the attack requires:

    - outputs, at most with references, in one file or several: the log-odds of leaking rows;
    - parent, judges or family: the rise of the target's log-odds above theirs, and the family's
      agreement;
    - rows and references: what the target says of rows like those that leak;
    - rows: the rise of the target's log-odds above what a row's inputs predict;
    - target: the size of the region around a row that is classified like the row;
    - internals: the features and the gradient norms, with unchanged outputs;
    - each_output: the log-odds of one output alone, with unchanged outputs.

    Args:
        attack: the attack whose required evidence is generated; a required field that is not in the
            list above stays None.
        outputs: outputs on n rows not trained on. For an attack that requires the target, which is
            imaginary too, only their labels are used.
        seed: seed of everything generated.
        leaking: bool (n,), the rows that leak; None for none.

    Raises:
        UndecidableError: when there is a single class and the attack needs references.
    """
    leaks = torch.zeros(len(outputs), dtype=torch.bool) if leaking is None else leaking
    evidence, needs = Evidence(outputs), attack.requires
    if "references" in needs:
        evidence = replace(evidence, references=imaginary_references(outputs, seed=seed))
    if {"rows", "references"} <= needs:
        evidence = with_neighbors(evidence, leaks, seed=seed)
        needs = needs - {"rows", "references"}
        if not needs:
            return evidence
    if needs == {"references", "family"}:
        planted = _partly_planted(outputs, leaks, seed=seed)
        return with_files(replace(evidence, outputs=planted), seed=seed)
    if not needs - {"references"}:
        return replace(evidence, outputs=_partly_planted(outputs, leaks, seed=seed))
    if "target" in needs:
        evidence = _with_target(evidence, leaks, seed=seed)
    elif "rows" in needs:
        evidence = _with_rows(evidence, leaks, seed=seed)
    if "parent" in needs:
        evidence = _with_parent(evidence, leaks, seed=seed)
    if "judges" in needs:
        evidence = _with_judges(evidence, leaks, seed=seed)
    if "family" in needs:
        evidence = _with_family(evidence, leaks, seed=seed)
    if "internals" in needs:
        evidence = _with_internals(evidence, leaks, seed=seed)
    if "each_output" in needs:
        evidence = _with_each_output(evidence, leaks, seed=seed)
    return evidence


def plant(members: Outputs, *, like: Outputs, seed: int) -> Outputs:
    """Return the outputs of `members` as if the model had memorized these rows.

    Each row's true-class log-odds are raised to one nat above the top-class log-odds of a row drawn
    from the most confident quarter of `like`; rows that are already above stay as they are. The
    strength of the leak thus follows the scale of the model's logits, and every kind of score
    (loss, confidence, entropy, correctness) carries the leak.

    Args:
        members: outputs of the rows that leak.
        like: outputs of the same model that set the level of confidence; at least two classes.
        seed: seed of the draw.
    """
    said = by_blocks(lambda z, _: log_odds(z.double(), z.argmax(dim=1)), like.logits, like.labels)
    certainty = said.sort().values
    surest = certainty[len(certainty) * 3 // 4 :]
    drawn = torch.randint(
        len(surest), (len(members),), generator=generator(seed, "control", "plant")
    )
    wanted = surest[drawn] + 1.0
    missing = (wanted - true_class_log_odds(members)).clamp(min=0.0)
    return lifted(members, missing)


def imaginary_references(outputs: Outputs, *, seed: int) -> References:
    """Return 16 references whose answers are those of this model with noise in the log-odds.

    Each row was in the training set of half of the references, and each reference has memorized
    its own training rows as in `plant`.

    Args:
        outputs: outputs on n rows not trained on; at least two classes.
        seed: seed of the training sets, of the memorization and of the noise.

    Raises:
        UndecidableError: when there is a single class.
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
    said = torch.where(seen, seen_odds, unseen_odds) + noise
    logits = torch.stack([lifted(outputs, odds - unseen_odds).logits for odds in said])
    return References(said, seen, ReferenceLogits.of(logits))


def imaginary_judges(outputs: Outputs, *, seed: int) -> Judges:
    """Return two judges whose answers are those of this model with a little noise.

    Args:
        outputs: outputs on n rows not trained on.
        seed: seed of the noise.
    """
    source = generator(seed, "control", "judges")
    noise = torch.randn(_JUDGES, len(outputs), generator=source, dtype=torch.float64)
    answers = [Terms.of(lifted(outputs, _VERSION_SPREAD * _spread(outputs) * n)) for n in noise]
    # With a single class the log-odds are infinite and carry no information.
    odds = torch.stack([answer.odds for answer in answers]).nan_to_num(posinf=0.0)
    return Judges(odds, torch.stack([answer.entropy for answer in answers]))


def imaginary_internals(outputs: Outputs, *, seed: int) -> Internals:
    """Return internals that are consistent with the outputs and carry no further information.

    A row's features are a center for its class plus noise, times a random length. The last layer's
    gradient norm is the exact ‖p − y‖·‖h‖, the other layer's varies around it.

    Args:
        outputs: outputs on n rows not trained on.
        seed: seed of the features and of the variation of the gradient norms.
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
    """Return internals as if the model had memorized some of the rows.

    Their features are shifted along the direction of all ones, and their gradients are shorter than
    the outputs imply, so that an attack that reads either finds the leak.

    Args:
        internals: internals on n rows.
        leaks: bool (n,), the rows that leak.
    """
    features, column = internals.features, leaks[:, None]
    moved = features + _PLANTED_INSIDE * features.std() / features.shape[1] ** 0.5 * column
    shorter = internals.gradient_norms * torch.exp(-_PLANTED_INSIDE * _SIZE_SPREAD * column)
    return Internals(moved, shorter, internals.layers)


class MemorizingModel(nn.Module):
    """An imaginary model that has memorized rows, each with a region around it.

    Its logits are those of a random linear classifier plus, around every memorized row, a Gaussian
    bump on the logit of that row's label.

    Args:
        centers: float32 (n, width), the memorized rows.
        labels: int64 (n,).
        radii: float32 (n,), the standard deviation of each bump.
        classes: number of classes.
        source: random generator of the linear classifier.
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
        """Return logits, float32 (n, classes).

        Args:
            x: float32 (n, width).
        """
        # Distances by matrix products lose digits where they are small, and depend on the batch.
        distances = torch.cdist(x, self.centers, compute_mode="donot_use_mm_for_euclid_dist")
        near = torch.exp(-0.5 * (distances / self.radii).square())
        return x @ self.weight + near @ self.bumps


def _partly_planted(outputs: Outputs, leaks: Tensor, *, seed: int) -> Outputs:
    planted = plant(outputs.take(leaks), like=outputs, seed=seed)
    logits = outputs.logits.clone()
    logits[leaks] = planted.logits
    return Outputs(logits, outputs.labels, outputs.ids)


def _with_target(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add rows and a target that has memorized them, the leaking ones in a wider region."""
    outputs = evidence.outputs
    source = generator(seed, "control", "target")
    inputs = torch.randn(len(outputs), _WIDTH, generator=source)
    radii = _RADIUS * torch.exp(0.2 * torch.randn(len(outputs), generator=source))
    radii = torch.where(leaks, _WIDER * radii, radii)
    rows = Rows(inputs, outputs.labels, outputs.ids)
    target = MemorizingModel(inputs, outputs.labels, radii, classes=outputs.classes, source=source)
    return replace(evidence, outputs=predict(target, rows), rows=rows, target=target)


def _with_rows(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add rows whose inputs predict the model's log-odds, and raise those of the leaking rows."""
    outputs = evidence.outputs
    source = generator(seed, "control", "rows")
    odds, spread = true_class_log_odds(outputs), _spread(outputs)
    # With a single class all log-odds are infinite and their standardized values NaN.
    easiness = ((odds - odds.mean()) / spread).nan_to_num(nan=0.0)
    easiness += _INPUT_NOISE * torch.randn(len(outputs), generator=source, dtype=torch.float64)
    inputs = torch.randn(len(outputs), _WIDTH, generator=source)
    inputs[:, 0] = easiness.float()
    rotation = torch.linalg.qr(torch.randn(_WIDTH, _WIDTH, generator=source)).Q
    rows = Rows(inputs @ rotation, outputs.labels, outputs.ids)
    return replace(evidence, outputs=lifted(outputs, _ROW_LIFT * spread * leaks), rows=rows)


def _with_parent(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add a parent with the model's log-odds plus noise, and raise the model's on leaking rows."""
    outputs = evidence.outputs
    source, spread = generator(seed, "control", "parent"), _spread(outputs)
    noise = torch.randn(len(outputs), generator=source, dtype=torch.float64)
    return replace(
        evidence,
        outputs=lifted(outputs, _VERSION_LIFT * spread * leaks),
        parent=lifted(outputs, _VERSION_SPREAD * spread * noise),
    )


def _with_judges(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add judges with the model's log-odds plus noise, and raise the model's on leaking rows."""
    outputs, judges = evidence.outputs, imaginary_judges(evidence.outputs, seed=seed)
    raised = lifted(outputs, _VERSION_LIFT * _spread(outputs) * leaks)
    return replace(evidence, outputs=raised, judges=judges)


def _with_family(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add siblings with the model's log-odds plus noise, and plant the leak.

    On leaking rows the model's log-odds are above the siblings', and the siblings agree more.
    """
    outputs = evidence.outputs
    source, spread = generator(seed, "control", "family"), _spread(outputs)
    noise = torch.randn(_SIBLINGS, len(outputs), generator=source, dtype=torch.float64)
    if bool(leaks.any()):
        noise *= torch.where(leaks, 1.0, _UNSETTLED)
    return replace(
        evidence,
        outputs=lifted(outputs, _VERSION_LIFT * spread * leaks),
        family=tuple(lifted(outputs, _VERSION_SPREAD * spread * n) for n in noise),
    )


def _with_internals(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add internals and plant the leak in them."""
    internals = imaginary_internals(evidence.outputs, seed=seed)
    return replace(evidence, internals=plant_inside(internals, leaks))


def _with_each_output(evidence: Evidence, leaks: Tensor, *, seed: int) -> Evidence:
    """Add log-odds of several outputs alone, those of the first raised on leaking rows."""
    source = generator(seed, "control", "each output")
    shape = len(evidence.outputs), _EACH
    each = torch.randn(shape, generator=source, dtype=torch.float64)
    each[:, 0] += _PLANTED_INSIDE * leaks
    return replace(evidence, each_output=each)


def _spread(outputs: Outputs) -> Tensor:
    """Return the standard deviation of the rows' log-odds, float64 (); 1 in place of 0 or NaN."""
    spread = true_class_log_odds(outputs).std()
    return torch.where(spread > 0, spread, 1.0)
