"""`planted_leak`, `no_leak`, `blind_baseline`: controls that test whether an audit can be trusted.

The first two take rows that no model was trained on and declare a random half of them "members".
With a planted leak the attack must find it; without one, the attack must find nothing. The blind
baseline tests whether members and non-members differ without any model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from safecompress.attacks.blind import LEVEL, BlindResult, blind_baseline
from safecompress.attacks.imagined import evidence_for, synthetic_outputs
from safecompress.attacks.metric import true_class_log_odds
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
"""AUC that an attack must reach on the leak planted in an ordinary model; working attacks reach
0.95 and more."""

_FEWEST_JUDGED = 24
"""Fewest judged rows in either group. Scores that tell 24 from 24 rows without an error have
p = 3e-5, below the level of a control even when three dozen attacks share it."""

_ORDINARY_ROWS = 800
_MOST_ROWS = 20_000
"""Largest number of rows of a control; two groups of half as many show an AUC of .513."""
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
        n_members, n_nonmembers: numbers of rows that both figures are computed on.
        seconds: wall time of the control.
        level: level that `p_value` is compared with.
        ordinary_auc: AUC on the leak planted in an ordinary model; None without a planted leak.
        least_auc: what `ordinary_auc` must reach.
    """

    control: str
    attack: str
    auc: float
    p_value: float
    ok: bool
    n_members: int
    n_nonmembers: int
    seconds: float
    level: float = LEVEL
    ordinary_auc: float | None = None
    least_auc: float = PLANTED_AUC

    @property
    def message(self) -> str:
        """The result and what was expected, in one sentence."""
        rows = f"{self.n_members} + {self.n_nonmembers} rows"
        found = f"{self.control}: {self.attack} has AUC {self.auc:.3f} (p = {self.p_value:.2g})"
        if self.ordinary_auc is None:
            return (
                f"{found} on {rows}; expected p ≥ {self.level:.2g}, for nobody trained on any of "
                "these rows."
            )
        return (
            f"{found} on {rows}, and AUC {self.ordinary_auc:.3f} on rows of an ordinary imaginary "
            f"model; expected p < {self.level:.2g}, and an AUC of {self.least_auc:.3g} or more on "
            "the latter, for the leak is real."
        )


def planted_leak(outputs: Outputs, attack: Attack, *, seed: int) -> ControlResult:
    """Plant a leak and run the attack; `ok` when the attack finds the leak.

    For an attack that reads one model's outputs, the label of a declared member gets log-odds as
    high as the model's most confident quarter of predictions; an attack that knows only the
    confidence then reaches an AUC of about 0.85. For an attack that requires more, the leak is
    planted in the evidence it requires; see `evidence_for`.

    How much of a leak an attack can find depends on the model, too. Where nearly all probabilities
    are 1, a sound attack that compares probabilities finds little of it. So the leak is planted
    twice. In the outputs of an ordinary imaginary model every sound attack reaches `PLANTED_AUC`;
    one that does not is broken. In the outputs at hand a sound attack need only find the leak
    beyond chance; where it does not, the control is undecidable on this model. An attack that
    queries the target gets an imaginary one in either case, so that only the first is run.

    Args:
        outputs: outputs on rows that the model was not trained on.
        attack: the attack to test; what it requires besides outputs is generated.
        seed: seed of the split into two groups, of the leak, and of the attack.

    Raises:
        UndecidableError: when the attack is sound, and these outputs are too few or too sure for it
            to find the leak; also on a single class.
        MissingEvidenceError: when the attack requires evidence that cannot be generated.
    """
    started = time.perf_counter()
    if outputs.classes < 2:
        raise UndecidableError("planted-leak: with a single class there is nothing to leak.")
    queries = "target" in attack.requires
    size = _MOST_QUERIED if queries else _ORDINARY_ROWS
    planted = _two_groups(synthetic_outputs(size, seed=seed), attack, seed=seed, leak=True)
    ordinary = _result("planted-leak", attack, _attacked(planted, attack, seed=seed))
    least = _reachable(planted.map(lambda e: e.outputs), attack)
    sound = ordinary.p_value < LEVEL and ordinary.auc >= least
    here, reason = ordinary, ""
    if not queries:
        try:
            groups = _two_groups(outputs, attack, seed=seed, leak=True)
            here = _result("planted-leak", attack, _attacked(groups, attack, seed=seed))
            reason = "" if here.p_value < LEVEL else _hidden(here, outputs, attack)
        except UndecidableError as error:
            reason = str(error)
    if sound and reason:
        raise UndecidableError(reason)
    return replace(
        here,
        ok=sound,
        ordinary_auc=ordinary.auc,
        least_auc=least,
        seconds=time.perf_counter() - started,
    )


def no_leak(
    outputs: Outputs | Evidence, attack: Attack, *, seed: int, level: float = LEVEL
) -> ControlResult:
    """Split rows without a leak into two random groups; `ok` when the attack finds no difference.

    Args:
        outputs: outputs on rows that the model was not trained on, or all evidence about them that
            the attack requires, of which nothing is then generated.
        attack: the attack to test; what it requires besides outputs is generated.
        seed: seed of the split into two groups and of the attack.
        level: share of sound attacks that fail, in (0, 1).

    Raises:
        UndecidableError: on fewer rows than the control needs, or on a single class when the attack
            requires references.
        MissingEvidenceError: when the attack requires evidence that cannot be generated.
    """
    started = time.perf_counter()
    groups = _two_groups(outputs, attack, seed=seed, leak=False)
    scores = _attacked(groups, attack, seed=seed)
    result = _result("no-leak", attack, scores)
    seconds = time.perf_counter() - started
    return replace(result, ok=result.p_value >= level, level=level, seconds=seconds)


def _hidden(here: ControlResult, outputs: Outputs, attack: Attack) -> str:
    """Return why a sound attack does not find a leak that was planted in these outputs."""
    if attack.label_only and "target" not in attack.requires:
        wrong = int((~outputs.correct).sum())
        return (
            f"planted-leak: the model is wrong on {wrong} of {len(outputs)} rows nobody trained "
            f"on, too few for {attack.name} to find a leak (AUC {here.auc:.3f}, "
            f"p = {here.p_value:.2g}); on a leak planted in an ordinary model it does."
        )
    odds = float(true_class_log_odds(outputs).median())
    return (
        f"planted-leak: {attack.name} finds a leak planted in an ordinary model, but not in this "
        f"one (AUC {here.auc:.3f}, p = {here.p_value:.2g}, on {here.n_members} + "
        f"{here.n_nonmembers} rows; median log-odds of the label {odds:.1f}): these outputs are "
        "too sure or too few for what it compares, so its figures on this model say little."
    )


def _two_groups(
    known: Outputs | Evidence, attack: Attack, *, seed: int, leak: bool
) -> Pool[Evidence]:
    outputs = known.outputs if isinstance(known, Evidence) else known
    # An attack that learns is judged on half of its rows.
    fewest = _FEWEST_JUDGED * (4 if attack.learns else 2)
    if len(outputs) < fewest:
        raise UndecidableError(
            f"controls: {len(outputs)} rows nobody trained on; expected at least {fewest} "
            f"to tell a broken {attack.name} attack from bad luck."
        )
    most = _MOST_QUERIED if "target" in attack.requires else _MOST_ROWS
    order = permutation(len(outputs), seed, "control", "groups")[:most]
    rows = known.take(torch.argsort(outputs.ids, stable=True))
    if len(order) < len(outputs):
        chosen = order.sort().values
        rows, order = rows.take(chosen), torch.searchsorted(chosen, order)
    half = len(order) // 2
    if isinstance(rows, Evidence):
        evidence = rows
    else:
        leaking = torch.zeros(len(rows), dtype=torch.bool)
        leaking[order[:half]] = leak
        evidence = evidence_for(attack, rows, seed=seed, leaking=leaking)
    return Pool(evidence.take(order[:half]), evidence.take(order[half:]))


def _reachable(planted: Pool[Outputs], attack: Attack) -> float:
    """Return the AUC that a working attack reaches on the leak planted in an ordinary model.

    An attack that reads only the predicted class of each row can find no more than the gap in
    correctness. An attack that may query the target gets another leak, which predicted classes
    reveal.
    """
    if not attack.label_only or "target" in attack.requires:
        return PLANTED_AUC
    correct = planted.map(lambda o: o.correct.double())
    return min(PLANTED_AUC, auc(correct.members, correct.nonmembers))


def _attacked(groups: Pool[Evidence], attack: Attack, *, seed: int) -> Pool[Tensor]:
    """Return the attack's scores. The groups are in random order, so a prefix is a random half."""
    halves = groups.map(lambda e: torch.arange(len(e.outputs)) < len(e.outputs) // 2)
    return attack(groups, halves=halves, seed=seed).scores


def _result(control: str, attack: Attack, scores: Pool[Tensor]) -> ControlResult:
    """Return what an attack reached, without a judgment."""
    return ControlResult(
        control=control,
        attack=attack.name,
        auc=auc(scores.members, scores.nonmembers),
        p_value=auc_p_value(scores.members, scores.nonmembers),
        ok=False,
        n_members=len(scores.members),
        n_nonmembers=len(scores.nonmembers),
        seconds=0.0,
    )
