"""SafeCompress itself, as one of the sides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from benchmarks.peers.exercise import TRAINING, Clock, Exercise, Floats, Scoring, run
from safecompress.attacks import ATTACKS
from safecompress.checks import Subject
from safecompress.cohorts.cohort import DENSE, Cohort
from safecompress.cohorts.plan import CohortPlan
from safecompress.cohorts.processes import train_cohort
from safecompress.config import CompressConfig, Request, ShadowsConfig
from safecompress.events import silent
from safecompress.protocols import Evidence, Outputs, Pool, References, Rows

SEED = 0
"""Of the halves: the fit half's non-members are RMIA's population."""
FIRST_SEED = 1000
"""Far from those of `prepare`: with its seed a shadow model would be the target itself."""
REQUESTS: dict[str, Request] = {
    "lira-online-fixed": "lira-online",
    "lira-online-own": {"lira-online": {"variance": "per-example"}},
    "lira-offline-fixed": "lira-offline",
    "lira-offline-own": {"lira-offline": {"variance": "per-example"}},
    "rmia-online": {"rmia": {"online": True}},
    "rmia-offline": {"rmia": {"online": False}},
}


def config(seed: int) -> CompressConfig:
    """Return a recipe that trains the dense model and then has nothing to compress."""
    dense = {**TRAINING, "precision": "32-true", "memory_format": "contiguous"}
    return CompressConfig.model_validate(
        {
            "seed": seed,
            "model": {"name": "mlp", "options": {"hidden": [512, 256]}},
            "dense": dense,
            "sparse": {"density": 1.0, "rounds": 0, "train": dense | {"epochs": 0}},
            "baselines": (),
        }
    )


def rows_of(x: Floats, y: Floats) -> Rows:
    """Return the rows as tensors, numbered from 0."""
    return Rows(torch.as_tensor(x), torch.as_tensor(y), torch.arange(len(y)))


def trained(rows: Rows, count: int, *, seed: int, folder: Path, keep: bool = False) -> Cohort:
    """Train a cohort, each model on half of the rows, one after the other."""
    names = tuple(str(k) for k in range(int(rows.labels.max()) + 1))
    plan = CohortPlan(config(seed), rows, names, members=len(rows) // 2, keep_models=keep)
    cohort = Cohort.begin(folder, plan)
    # Of fewer than four models no attack is asked here; the count in the settings is of no effect.
    train_cohort(cohort, count, ShadowsConfig(count=max(4, count), workers=1), listen=silent)
    return cohort


def subject_of(exercise: Exercise, references: References) -> Subject:
    """Return the target as its attackers see it."""
    rows = rows_of(exercise.x, exercise.y)
    logits, seen = torch.from_numpy(exercise.target), torch.from_numpy(exercise.target_seen)

    def held(mask: torch.Tensor) -> Evidence:
        outputs = Outputs(logits[mask], rows.labels[mask], rows.ids[mask])
        return Evidence(outputs, references=references.take(mask))

    return Subject.of(Pool(held(seen), held(~seen)), name="target", density=None, seed=SEED)


def asked(request: Request, subject: Subject) -> Floats:
    """Return the scores of the rows that an attack judges, NaN for the others."""
    result = subject.attacked_by(ATTACKS.build(request, where="audit_speed"))
    pairs = [(p.members, p.nonmembers) for p in (result.ids, result.scores)]
    ids, said = (torch.cat(pair) for pair in pairs)
    labels = result.labels
    scores = torch.full((len(labels.members) + len(labels.nonmembers),), torch.nan).double()
    scores[ids] = said
    return scores.numpy()


def score(request: Request, exercise: Exercise) -> Floats:
    """Score every row, given logits in memory."""
    logits, seen = torch.from_numpy(exercise.shadows), torch.from_numpy(exercise.seen)
    references = References.of(logits, torch.from_numpy(exercise.y), seen)
    return asked(request, subject_of(exercise, references))


def scorings(exercise: Exercise, folder: Path) -> Mapping[str, Scoring]:
    """Return every attack."""
    del exercise, folder
    return {name: partial(score, request) for name, request in REQUESTS.items()}


def whole(
    exercise: Exercise, count: int, seed: int, folder: Path
) -> tuple[dict[str, object], dict[str, Floats]]:
    """Train the shadow models and score every row."""
    rows = rows_of(exercise.x, exercise.y)
    with Clock() as training:
        cohort = trained(rows, count, seed=FIRST_SEED + seed, folder=folder / "cohort")
    scores = {}
    with Clock() as scoring:
        references = cohort.references(range(count), DENSE, rows.ids)
        for name in (online_lira(count), "rmia-online", "rmia-offline"):
            scores[name] = asked(REQUESTS[name], subject_of(exercise, references))
    return {"training": training.read(), "scoring": scoring.read()}, scores


def online_lira(count: int) -> str:
    """Return LiRA as the paper sets it up: one variance for all rows below 64 shadow models."""
    return "lira-online-own" if count >= 64 else "lira-online-fixed"


if __name__ == "__main__":
    run(scorings, whole)
