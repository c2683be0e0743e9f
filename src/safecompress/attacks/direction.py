"""`chance_of`: the AUC of an attack on a model that tells nothing, which is not always one half.

Where each row is in exactly half of all models and the judged one is among them, fewer of the other
models saw a member than saw a non-member. Means over fewer models scatter more, and an attack that
compares two such means takes non-members for members without any leak: LiRA with five reference
models falls to an AUC of 0.37.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from safecompress.attacks.lift import lifted
from safecompress.protocols import Attack, Evidence, Outputs, Pool, References
from safecompress.randomness import generator
from safecompress.stats.intervals import auc_interval

CHANCE = 0.5

_ROWS = 20_000
"""Fewest imaginary rows; they put the AUC of an attack that tells nothing within ±0.01."""

_LEVEL = 0.99


def chance_of(attack: Attack, evidence: Pool[Evidence], *, seed: int) -> float:
    """Return the AUC that luck and the references' training sets alone explain, at most 0.5.

    For an attack with references, all models are imagined anew such that none has memorized
    anything, with the training sets that the references have. The lower end of the interval of its
    AUC is returned, or 0.5 where that is larger. For any other attack it is 0.5.

    Args:
        attack: the attack.
        evidence: what it has about members and non-members.
        seed: seed of the imaginary models, and of the attack.
    """
    if "references" not in attack.requires:
        return CHANCE
    copies = math.ceil(_ROWS / sum(len(e.outputs) for e in (evidence.members, evidence.nonmembers)))
    source = generator(seed, "control", "direction")
    silent = evidence.map(lambda e: _silent(e, copies, source))
    halves = silent.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    scores = attack(silent, halves=halves, seed=seed).scores
    return min(CHANCE, auc_interval(scores.members, scores.nonmembers, level=_LEVEL).low)


def _silent(evidence: Evidence, copies: int, source: torch.Generator) -> Evidence:
    """Return the evidence several times over, with log-odds that are noise in every model."""
    repeated = evidence.take(torch.arange(len(evidence.outputs)).repeat(copies))
    outputs, references = repeated.outputs, repeated.references
    if references is None:
        return repeated
    n, models = len(outputs), len(references.seen)
    noise = torch.randn(models + 1, n, generator=source, dtype=torch.float64)
    return replace(
        repeated,
        outputs=_with_odds(outputs, noise[models]),
        references=References(noise[:models], references.seen),
    )


def _with_odds(outputs: Outputs, odds: Tensor) -> Outputs:
    """Return outputs whose labels have these log-odds, and whose other classes are alike."""
    flat = Outputs(torch.zeros_like(outputs.logits), outputs.labels, outputs.ids)
    return lifted(flat, odds + math.log(max(1, outputs.classes - 1)))
