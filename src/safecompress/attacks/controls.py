"""Controls: is the attack itself to be believed?

Both controls take rows that nobody trained on and declare a random half of them "members". Where a
leak is planted the attack must find it; where none is, it must stay silent. The third control, the
blind baseline, asks whether members and non-members differ without any model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from safecompress.attacks.blind import LEVEL, BlindResult, blind_baseline
from safecompress.attacks.imagined import evidence_for
from safecompress.attacks.network import in_id_order
from safecompress.errors import UndecidableError
from safecompress.protocols import Attack, Evidence, Outputs, Pool
from safecompress.randomness import permutation
from safecompress.stats.intervals import auc_p_value
from safecompress.stats.roc import auc

__all__ = [
    "LEVEL",
    "PLANTED_AUC",
    "BlindResult",
    "ControlResult",
    "blind_baseline",
    "no_leak",
    "planted_leak",
]


PLANTED_AUC = 0.75
"""AUC an attack must reach on the planted leak; sound ones reach 0.85 and more."""

_FEWEST_ROWS = 200

_MOST_QUERIED = 400
"""Rows of a control whose attack asks an imaginary model thousands of questions about each."""


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

    For an attack that reads one model's outputs, declared members are made as certain of their
    label as the model is of its own surest quarter of guesses; who knows only the confidence
    reaches an AUC of about 0.85. For one that needs more, the leak is where it alone can look; see
    `evidence_for`.

    Args:
        outputs: of rows nobody trained on, at least 200.
        attack: whatever it needs besides outputs is imagined here.
        seed: of the cut into two groups, of the leak, and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows, or a single class; for an attack that sees the
            predicted class of each row and no more, also where the model makes so few mistakes
            that there is no gap to find.
        MissingEvidenceError: when the attack needs what cannot be imagined.
    """
    started = time.perf_counter()
    if outputs.classes < 2:
        raise UndecidableError("planted-leak: with a single class there is nothing to leak.")
    planted = _two_groups(outputs, attack, seed=seed, leak=True)
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
        attack: whatever it needs besides outputs is imagined here.
        seed: of the cut into two groups and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows, or a single class and an attack that needs
            references.
        MissingEvidenceError: when the attack needs what cannot be imagined.
    """
    started = time.perf_counter()
    groups = _two_groups(outputs, attack, seed=seed, leak=False)
    scores = _attacked(groups, attack, seed=seed)
    value, p = auc(scores.members, scores.nonmembers), _p_value(scores)
    return _result("no-leak", attack, scores, value, p, ok=p >= LEVEL, started=started)


def _two_groups(outputs: Outputs, attack: Attack, *, seed: int, leak: bool) -> Pool[Evidence]:
    if len(outputs) < _FEWEST_ROWS:
        raise UndecidableError(
            f"controls: {len(outputs)} rows nobody trained on; expected at least {_FEWEST_ROWS} "
            "to tell a broken attack from bad luck."
        )
    most = _MOST_QUERIED if "target" in attack.requires else len(outputs)
    order = permutation(len(outputs), seed, "control", "groups")[:most]
    half = len(order) // 2
    leaking = torch.zeros(len(outputs), dtype=torch.bool)
    leaking[order[:half]] = leak
    rows = in_id_order(outputs)
    evidence = evidence_for(attack, rows, seed=seed, leaking=leaking)
    return Pool(evidence.take(order[:half]), evidence.take(order[half:]))


def _reachable(planted: Pool[Outputs], attack: Attack) -> float:
    """Return the AUC that a sound attack reaches on the planted leak.

    Who sees the predicted class of each row alone finds no more than the gap in correctness; who
    may ask the target about other rows is planted another leak.
    """
    if not attack.label_only or "target" in attack.requires:
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
