"""`world`: rows and reference models whose log-odds are Gaussian, and attacks run on them."""

from __future__ import annotations

import torch

from safecompress.attacks.bavaria import BavariaAttack, BavariaOfflineAttack, BavariaOnlineAttack
from safecompress.attacks.informia import InfoRmiaAttack
from safecompress.attacks.lira import (
    CalibratedAttack,
    LiraAttack,
    LiraOfflineAttack,
    LiraOnlineAttack,
)
from safecompress.attacks.rmia import RmiaAttack
from safecompress.protocols import Attack, Evidence, Outputs, Pool, References
from safecompress.randomness import generator
from safecompress.stats import auc

ONLINE = (
    LiraOnlineAttack(),
    LiraOnlineAttack(variance="per-example"),
    RmiaAttack(gamma=1.0, online=True),
    BavariaOnlineAttack(),
    BavariaOnlineAttack(predictive="gaussian"),
    InfoRmiaAttack(online=True),
    InfoRmiaAttack(divergence="population", online=True),
)
OFFLINE = (
    LiraOfflineAttack(),
    LiraOfflineAttack(variance="per-example"),
    RmiaAttack(gamma=1.0, online=False),
    BavariaOfflineAttack(),
    BavariaOfflineAttack(predictive="gaussian"),
    InfoRmiaAttack(online=False),
    InfoRmiaAttack(divergence="population", online=False),
)
ALL = (*ONLINE, *OFFLINE, CalibratedAttack())
OF_SPREAD = tuple(a for a in ALL if isinstance(a, LiraAttack | BavariaAttack))
"""Those that read how far references lie apart, and need two of a kind for it."""


def outputs_of(odds: torch.Tensor, *, first: int = 0) -> Outputs:
    """Return outputs of two classes, label 0, whose log-odds are `odds`."""
    logits = torch.stack([odds, torch.zeros_like(odds)], dim=1).float()
    n = len(odds)
    return Outputs(logits, torch.zeros(n, dtype=torch.long), torch.arange(first, first + n))


def world(
    n: int, *, references: int, apart: float, sigma: float = 1.0, seed: int = 0
) -> Pool[Evidence]:
    """Return rows whose φ is Gaussian for every model, and `apart` higher for models that saw it.

    Rows differ in how hard they are, which references can tell and a plain loss attack cannot.
    """
    draw = generator(seed, "world")
    sides = []
    for first, shift in ((0, apart), (n, 0.0)):
        hard = torch.randn(n, generator=draw, dtype=torch.float64) * 3.0
        order = torch.rand(references, n, generator=draw).argsort(dim=0)
        seen = order < references // 2
        noise = torch.randn(references, n, generator=draw, dtype=torch.float64)
        said = hard + seen * apart + sigma * noise
        own = hard + shift + sigma * torch.randn(n, generator=draw, dtype=torch.float64)
        sides.append(Evidence(outputs_of(own, first=first), references=References(said, seen)))
    return Pool(*sides)


def run(attack: Attack, pool: Pool[Evidence]):
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    return attack(pool, halves=halves, seed=0)


def found(attack: Attack, pool: Pool[Evidence]) -> float:
    scores = run(attack, pool).scores
    return auc(scores.members, scores.nonmembers)


def with_seen(pool: Pool[Evidence], seen) -> Pool[Evidence]:
    """Return the evidence with `seen(old)` in place of who saw what."""

    def changed(e: Evidence) -> Evidence:
        return Evidence(
            e.outputs, references=References(e.references.log_odds, seen(e.references.seen))
        )

    return pool.map(changed)
