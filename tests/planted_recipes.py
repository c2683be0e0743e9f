"""`planted`: cohorts of imaginary models whose answers leak in a way that is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from safecompress.protocols import Evidence, Outputs, Pool, References

CLASSES = 8


@dataclass(frozen=True)
class Cohort:
    """Logits of models on the same rows, labels, and who saw which row; the last is the target."""

    logits: torch.Tensor
    labels: torch.Tensor
    seen: torch.Tensor

    def evidence(self) -> Pool[Evidence]:
        everyone = Evidence(
            Outputs(self.logits[-1], self.labels, torch.arange(len(self.labels))),
            references=References.of(self.logits[:-1], self.labels, self.seen[:-1]),
        )
        return Pool(everyone.take(self.seen[-1]), everyone.take(~self.seen[-1]))


def planted(recipe: str, *, rows: int, references: int, seed: int) -> Cohort:
    """Return a cohort of a recipe.

    The log-odds of the label are the same for members and others in every recipe; what differs is
    how the other classes share what is left, or only what probabilities do not tell: all logits
    are log-probabilities but those of the last recipe.

    Args:
        recipe: `nothing`; `surer`, where the classes beside the label are more unequal for members;
            `own way`, where each model has memorized its own direction away from the others; or
            `level`, where all logits of a member are higher by the same number.
        rows: number of rows.
        references: number of references.
        seed: seed of everything.
    """
    draw = np.random.default_rng(seed)
    labels = draw.integers(CLASSES, size=rows)
    # Independent training sets, so that no count of references says who the target's members are.
    seen = draw.random((references + 1, rows)) < 0.5
    # Of every row there are references of both kinds.
    others = seen[:-1].sum(axis=0)
    seen[0] = np.where(others == references, False, np.where(others == 0, True, seen[0]))
    base = draw.normal(size=(rows, CLASSES))
    logits = base + 0.4 * draw.normal(size=(references + 1, rows, CLASSES))
    if recipe == "surer":
        logits = np.where(seen[..., None], logits * 1.35, logits)
    elif recipe == "own way":
        logits += np.where(seen[..., None], 0.5 * draw.normal(size=logits.shape), 0.0)
    easy = base[np.arange(rows), labels] + draw.normal(size=rows)
    odds = easy + 0.5 * draw.normal(size=(references + 1, rows))
    mask = np.eye(CLASSES, dtype=bool)[labels]
    rest = np.log(np.where(mask, 0.0, np.exp(logits)).sum(axis=2))
    logits = np.where(mask, (rest + odds)[..., None], logits)
    logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))
    if recipe == "level":
        level = draw.normal(size=rows) + draw.normal(size=seen.shape)
        logits += (level + np.where(seen, 1.0, 0.0))[..., None]
    return Cohort(*(torch.from_numpy(a) for a in (logits, labels, seen)))
