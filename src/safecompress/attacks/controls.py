"""Controls: is the attack itself to be believed?

Both controls take rows that nobody trained on and declare a random half of them "members". Where a
leak is planted the attack must find it; where none is, it must stay silent. The third control, the
blind baseline, asks whether members and non-members differ without any model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from safecompress.attacks.blind import LEVEL, BlindResult, blind_baseline
from safecompress.attacks.metric import by_blocks, log_odds
from safecompress.attacks.neural import in_id_order
from safecompress.errors import UndecidableError
from safecompress.protocols import Attack, Evidence, Outputs, Pool
from safecompress.randomness import generator, permutation
from safecompress.stats.intervals import auc_p_value
from safecompress.stats.roc import auc

__all__ = [
    "LEVEL",
    "PLANTED_AUC",
    "BlindResult",
    "ControlResult",
    "blind_baseline",
    "no_leak",
    "plant",
    "planted_leak",
]


PLANTED_AUC = 0.75
"""AUC an attack must reach on the planted leak; sound ones reach 0.85 and more."""

_FEWEST_ROWS = 200


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
    """

    control: str
    attack: str
    auc: float
    p_value: float
    ok: bool
    n_members: int
    n_nonmembers: int
    seconds: float

    _EXPECTED: ClassVar[dict[str, str]] = {
        "planted-leak": f"an AUC of {PLANTED_AUC:g} or more at p < {LEVEL:g}, for the leak is real",
        "no-leak": f"p ≥ {LEVEL:g}, for nobody trained on any of these rows",
    }

    @property
    def message(self) -> str:
        """What was seen and what was expected, in one sentence."""
        return (
            f"{self.control}: {self.attack} has AUC {self.auc:.3f} (p = {self.p_value:.2g}) on "
            f"{self.n_members} + {self.n_nonmembers} rows; expected {self._EXPECTED[self.control]}."
        )


def planted_leak(outputs: Outputs, attack: Attack, *, seed: int) -> ControlResult:
    """Plant a leak that is certainly there; `ok` when the attack finds it.

    Declared members are made as certain of their label as the model is of its own surest quarter
    of guesses; see `plant`. An attack that knows only the confidence reaches an AUC of about 0.85.

    Args:
        outputs: of rows nobody trained on, at least 200.
        attack: may need no evidence besides the outputs.
        seed: of the cut into two groups, of the leak, and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows, or a single class.
        MissingEvidenceError: when the attack needs more than outputs.
    """
    started = time.perf_counter()
    groups = _two_groups(outputs, seed=seed)
    if outputs.classes < 2:
        raise UndecidableError("planted-leak: with a single class there is nothing to leak.")
    planted = Pool(plant(groups.members, like=outputs, seed=seed), groups.nonmembers)
    scores = _attacked(planted, attack, seed=seed)
    value, p = auc(scores.members, scores.nonmembers), _p_value(scores)
    caught = p < LEVEL and value >= PLANTED_AUC
    return _result("planted-leak", attack, scores, value, p, ok=caught, started=started)


def no_leak(outputs: Outputs, attack: Attack, *, seed: int) -> ControlResult:
    """Cut rows nobody trained on into two random groups; `ok` when the attack sees no difference.

    Args:
        outputs: of rows nobody trained on, at least 200.
        attack: may need no evidence besides the outputs.
        seed: of the cut into two groups and of the attack.

    Raises:
        UndecidableError: on fewer than 200 rows.
        MissingEvidenceError: when the attack needs more than outputs.
    """
    started = time.perf_counter()
    scores = _attacked(_two_groups(outputs, seed=seed), attack, seed=seed)
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


def _two_groups(outputs: Outputs, *, seed: int) -> Pool[Outputs]:
    if len(outputs) < _FEWEST_ROWS:
        raise UndecidableError(
            f"controls: {len(outputs)} rows nobody trained on; expected at least {_FEWEST_ROWS} "
            "to tell a broken attack from bad luck."
        )
    ordered = in_id_order(outputs)
    order = permutation(len(ordered), seed, "control", "groups")
    half = len(ordered) // 2
    return Pool(ordered.take(order[:half]), ordered.take(order[half:]))


def _attacked(groups: Pool[Outputs], attack: Attack, *, seed: int) -> Pool[Tensor]:
    """Return the attack's scores; the groups are in random order, so a prefix is a random half."""
    halves = groups.map(lambda o: torch.arange(len(o)) < len(o) // 2)
    return attack(groups.map(Evidence), halves=halves, seed=seed).scores


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
