"""`planted_leak`, `no_leak`, `blind_baseline`: controls that test whether an audit can be trusted.

The first two take rows that no model was trained on and declare a random half of them "members".
With a planted leak the attack must find it; without one, the attack must find nothing. The blind
baseline tests whether members and non-members differ without any model.
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
"""AUC that an attack must reach on the planted leak; working attacks reach 0.85 and more."""

_FEWEST_ROWS = 200

_MOST_QUERIED = 400
"""Largest number of rows for an attack that queries the target, often very many times a row."""


@dataclass(frozen=True)
class ControlResult:
    """The result of an attack on rows with a known leak, or known to have none.

    Args:
        control: `planted-leak` or `no-leak`.
        attack: the attack's name.
        auc: area under the ROC curve; for an attack that learns, on the judged half.
        p_value: one-sided, against an AUC of at most 0.5.
        ok: whether the attack passed the control.
        n_members, n_nonmembers: numbers of rows that the figures are computed on.
        seconds: wall time of the control.
        least_auc: AUC that the attack must reach on the planted leak.
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
        """The result and what was expected, in one sentence."""
        return (
            f"{self.control}: {self.attack} has AUC {self.auc:.3f} (p = {self.p_value:.2g}) on "
            f"{self.n_members} + {self.n_nonmembers} rows; expected "
            f"{self._EXPECTED[self.control].format(self.least_auc)}."
        )


def planted_leak(outputs: Outputs, attack: Attack, *, seed: int) -> ControlResult:
    """Plant a leak and run the attack; `ok` when the attack finds the leak.

    For an attack that reads one model's outputs, the label of a declared member gets log-odds as
    high as the model's most confident quarter of predictions; an attack that knows only the
    confidence then reaches an AUC of about 0.85. For an attack that requires more, the leak is
    planted in the evidence it requires; see `evidence_for`.

    Args:
        outputs: outputs on at least 200 rows that the model was not trained on.
        attack: the attack to test; what it requires besides outputs is generated.
        seed: seed of the split into two groups, of the leak, and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows, or a single class; for an attack that reads only
            the predicted class of each row also when the model makes so few mistakes that there
            is no gap to find.
        MissingEvidenceError: when the attack requires evidence that cannot be generated.
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
    """Split rows without a leak into two random groups; `ok` when the attack finds no difference.

    Args:
        outputs: outputs on at least 200 rows that the model was not trained on.
        attack: the attack to test; what it requires besides outputs is generated.
        seed: seed of the split into two groups and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows, or on a single class when the attack requires
            references.
        MissingEvidenceError: when the attack requires evidence that cannot be generated.
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
    """Return the AUC that a working attack reaches on the planted leak.

    An attack that reads only the predicted class of each row can find no more than the gap in
    correctness. An attack that may query the target gets another leak, which predicted classes
    reveal.
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
    """Return the attack's scores. The groups are in random order, so a prefix is a random half."""
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
