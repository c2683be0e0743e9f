"""Controls: is the attack itself to be believed?

Both controls take rows that nobody trained on and declare a random half of them "members". Where a
leak is planted the attack must find it; where none is, it must stay silent. The third control, the
blind baseline, asks whether members and non-members differ without any model.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from safecompress.attacks.blind import LEVEL, BlindResult, blind_baseline
from safecompress.attacks.metric import by_blocks, true_class_log_odds
from safecompress.attacks.neural import in_id_order
from safecompress.errors import UndecidableError
from safecompress.protocols import (
    Attack,
    Evidence,
    Internals,
    Outputs,
    Pool,
    References,
    log_odds,
    residuals,
)
from safecompress.randomness import generator, permutation
from safecompress.stats.intervals import auc_p_value
from safecompress.stats.roc import auc

__all__ = [
    "LEVEL",
    "PLANTED_AUC",
    "BlindResult",
    "ControlResult",
    "blind_baseline",
    "evidence_for",
    "imaginary_internals",
    "imaginary_references",
    "no_leak",
    "plant",
    "plant_inside",
    "planted_leak",
]


PLANTED_AUC = 0.75
"""AUC an attack must reach on the planted leak; sound ones reach 0.85 and more."""

_FEWEST_ROWS = 200
_REFERENCES = 16
_REFERENCE_SPREAD = 0.5
"""Of the imaginary references around the model, relative to how its own rows differ."""

_FEATURES, _LAYERS = 32, ("imaginary.first", "imaginary.last")
_SIZE_SPREAD = 0.3
"""How much the sizes of imaginary features and gradients vary, in nats."""
_PLANTED_INSIDE = 4.0
"""How far planted features are moved, and by how much planted gradients are shortened, in spreads
of either; sound white-box attacks reach an AUC of 0.9 and more."""


@dataclass(frozen=True)
class ControlResult:
    """How an attack did on rows whose leak is known.

    Args:
        control: `planted-leak` or `no-leak`.
        attack: the attack's name.
        auc: area under its ROC curve; of a learning attack on the judged half.
        p_value: one-sided, against an AUC of at most 0.5.
        ok: whether the attack did as it must.
        n_members, n_nonmembers: rows the figures rest on.
        seconds: time it took.
        least_auc: AUC that a sound attack reaches on the planted leak.
    """

    control: str
    attack: str
    auc: float
    p_value: float
    ok: bool
    n_members: int
    n_nonmembers: int
    seconds: float
    least_auc: float = PLANTED_AUC

    _EXPECTED: ClassVar[dict[str, str]] = {
        "planted-leak": f"an AUC of {{:.3g}} or more at p < {LEVEL:g}, for the leak is real",
        "no-leak": f"p ≥ {LEVEL:g}, for nobody trained on any of these rows",
    }

    @property
    def message(self) -> str:
        """What was seen and what was expected, in one sentence."""
        return (
            f"{self.control}: {self.attack} has AUC {self.auc:.3f} (p = {self.p_value:.2g}) on "
            f"{self.n_members} + {self.n_nonmembers} rows; expected "
            f"{self._EXPECTED[self.control].format(self.least_auc)}."
        )


def planted_leak(outputs: Outputs, attack: Attack, *, seed: int) -> ControlResult:
    """Plant a leak that is certainly there; `ok` when the attack finds it.

    Declared members are made as certain of their label as the model is of its own surest quarter
    of guesses; see `plant`. An attack that knows only the confidence reaches an AUC of about 0.85.
    For an attack that requires internals the leak is there and nowhere else, so that one which
    reads no more than outputs is found out; see `plant_inside`.

    Args:
        outputs: of rows nobody trained on, at least 200.
        attack: may need no evidence besides outputs, references and internals; the last two are
            imagined here.
        seed: of the cut into two groups, of the leak, and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows, or a single class; for a label-only attack also
            where the model makes so few mistakes that there is no gap to find.
        MissingEvidenceError: when the attack needs more than that.
    """
    started = time.perf_counter()
    if outputs.classes < 2:
        raise UndecidableError("planted-leak: with a single class there is nothing to leak.")
    groups = _two_groups(outputs, attack, seed=seed)
    planted = Pool(leaking(groups.members, like=outputs, seed=seed), groups.nonmembers)
    least = _reachable(planted.map(lambda e: e.outputs), attack)
    scores = _attacked(planted, attack, seed=seed)
    value, p = auc(scores.members, scores.nonmembers), _p_value(scores)
    caught = p < LEVEL and value >= least
    result = _result("planted-leak", attack, scores, value, p, ok=caught, started=started)
    return replace(result, least_auc=least)


def no_leak(outputs: Outputs, attack: Attack, *, seed: int) -> ControlResult:
    """Cut rows nobody trained on into two random groups; `ok` when the attack sees no difference.

    Args:
        outputs: of rows nobody trained on, at least 200.
        attack: may need no evidence besides outputs, references and internals; the last two are
            imagined here.
        seed: of the cut into two groups and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows, or a single class and an attack that needs
            references.
        MissingEvidenceError: when the attack needs more than that.
    """
    started = time.perf_counter()
    scores = _attacked(_two_groups(outputs, attack, seed=seed), attack, seed=seed)
    value, p = auc(scores.members, scores.nonmembers), _p_value(scores)
    return _result("no-leak", attack, scores, value, p, ok=p >= LEVEL, started=started)


def plant(members: Outputs, *, like: Outputs, seed: int) -> Outputs:
    """Return outputs as a model gives them that has memorised `members`.

    Each row's true-class log-odds is raised to one nat above the top-class log-odds of a row drawn
    from the surest quarter of `like`; rows already above it stay as they are. So the strength
    follows the model's own scale, whatever its logits and its accuracy, and every kind of score
    (loss, confidence, entropy, correctness) carries the leak.

    Args:
        members: rows to leak.
        like: rows that say how certain this model can be; at least two classes.
        seed: of the draw.
    """
    certainty = by_blocks(lambda z, _: log_odds(z, z.argmax(dim=1)), like).sort().values
    surest = certainty[len(certainty) * 3 // 4 :]
    drawn = torch.randint(
        len(surest), (len(members),), generator=generator(seed, "control", "plant")
    )
    wanted = surest[drawn] + 1.0
    missing = (wanted - by_blocks(log_odds, members)).clamp(min=0.0)
    column = members.labels[:, None]
    raised = members.logits.double().scatter_add(1, column, missing[:, None])
    return Outputs(raised.to(members.logits.dtype), members.labels, members.ids)


def leaking(members: Evidence, *, like: Outputs, seed: int) -> Evidence:
    """Return evidence with a leak: inside the model where it holds internals, else in the outputs.

    Args:
        members: rows to leak.
        like: rows that say how certain this model can be; at least two classes.
        seed: of the leak.
    """
    if members.internals is not None:
        return replace(members, internals=plant_inside(members.internals))
    return replace(members, outputs=plant(members.outputs, like=like, seed=seed))


def plant_inside(internals: Internals) -> Internals:
    """Return internals as a model has them that has memorised these rows; outputs know nothing.

    Features move along the direction of all ones, and every gradient is shorter, relative to what
    the outputs alone make it: whoever reads either finds the leak.
    """
    features = internals.features
    moved = features + _PLANTED_INSIDE * features.std() / features.shape[1] ** 0.5
    shorter = internals.gradient_norms * math.exp(-_PLANTED_INSIDE * _SIZE_SPREAD)
    return Internals(moved, shorter, internals.layers)


def evidence_for(attack: Attack, outputs: Outputs, *, seed: int) -> Evidence:
    """Return the evidence that `attack` requires of rows nobody trained on, the rest imagined."""
    references, internals = ("references" in attack.requires, "internals" in attack.requires)
    return Evidence(
        outputs,
        references=imaginary_references(outputs, seed=seed) if references else None,
        internals=imaginary_internals(outputs, seed=seed) if internals else None,
    )


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
    centres = torch.randn(outputs.classes, _FEATURES, generator=source)
    noise = torch.randn(n, _FEATURES, generator=source)
    size = torch.exp(_SIZE_SPREAD * torch.randn(n, 1, generator=source))
    features = size * (centres[outputs.labels] + noise)
    length = residuals(outputs.logits, outputs.labels).length
    last = length * torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)
    vary = _SIZE_SPREAD * torch.randn(n, generator=source, dtype=torch.float64)
    return Internals(features, torch.stack([last * torch.exp(vary), last], dim=1), _LAYERS)


def imaginary_references(outputs: Outputs, *, seed: int) -> References:
    """Return references that say of the rows what this model says, give or take.

    There are 16, and each saw half of the rows, so that each row was seen by half of them. What a
    reference saw it memorised, as `plant` does.

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


def _two_groups(outputs: Outputs, attack: Attack, *, seed: int) -> Pool[Evidence]:
    if len(outputs) < _FEWEST_ROWS:
        raise UndecidableError(
            f"controls: {len(outputs)} rows nobody trained on; expected at least {_FEWEST_ROWS} "
            "to tell a broken attack from bad luck."
        )
    evidence = evidence_for(attack, in_id_order(outputs), seed=seed)
    order = permutation(len(outputs), seed, "control", "groups")
    half = len(outputs) // 2
    return Pool(evidence.take(order[:half]), evidence.take(order[half:]))


def _reachable(planted: Pool[Outputs], attack: Attack) -> float:
    """Return the AUC that a sound attack reaches on the planted leak.

    Who sees the predicted class alone finds no more than the gap in correctness.
    """
    if not attack.label_only:
        return PLANTED_AUC
    correct = planted.map(lambda o: o.correct.double())
    if _p_value(correct) >= LEVEL:
        wrong = int((~planted.nonmembers.correct).sum())
        raise UndecidableError(
            f"planted-leak: the model is wrong on {wrong} of {len(planted.nonmembers)} rows nobody "
            f"trained on, too few to tell a broken {attack.name} attack from bad luck."
        )
    return min(PLANTED_AUC, auc(correct.members, correct.nonmembers))


def _attacked(groups: Pool[Evidence], attack: Attack, *, seed: int) -> Pool[Tensor]:
    """Return the attack's scores; the groups are in random order, so a prefix is a random half."""
    halves = groups.map(lambda e: torch.arange(len(e.outputs)) < len(e.outputs) // 2)
    return attack(groups, halves=halves, seed=seed).scores


def _p_value(scores: Pool[Tensor]) -> float:
    return auc_p_value(scores.members, scores.nonmembers)


def _result(
    control: str,
    attack: Attack,
    scores: Pool[Tensor],
    value: float,
    p: float,
    *,
    ok: bool,
    started: float,
) -> ControlResult:
    return ControlResult(
        control=control,
        attack=attack.name,
        auc=value,
        p_value=p,
        ok=ok,
        n_members=len(scores.members),
        n_nonmembers=len(scores.nonmembers),
        seconds=time.perf_counter() - started,
    )
