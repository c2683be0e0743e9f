"""Shadow models of a run: the recipe of its model, on other draws of its rows."""

from __future__ import annotations

import time
from collections.abc import Mapping

from safecompress.cohort import COMPRESSED, DENSE, Cohort, Plan
from safecompress.config import CompressConfig, ShadowsConfig, TrainConfig, VerdictConfig
from safecompress.data.rows import concatenate
from safecompress.events import Event
from safecompress.modelfile import StoredModel
from safecompress.prepare import Prepared
from safecompress.protocols import Pool, References, Rows
from safecompress.randomness import derive
from safecompress.recipe import Made
from safecompress.stages import Stage, Work
from safecompress.train import Probed
from safecompress.workers import train_cohort

FOLDER = "shadows"


def shadows_of(
    work: Work, prepared: Prepared, made: Made, sealed: Pool[Rows]
) -> Mapping[str, Pool[References]]:
    """Train a run's shadow models, or read those that are there.

    They are drawn from members, steering and sealed rows alike: what they say of a sealed row is
    compared with what the judged model says of it, and nothing is chosen by it.

    Args:
        work: the run; its folder keeps the shadow models' outputs.
        prepared: what the run began with.
        made: its models.
        sealed: the rows that judge.

    Returns:
        By a model's name, `compressed` and `dense`, what its shadow models say of the sealed rows;
        nothing where the configuration asks for none.

    Raises:
        NonFiniteError: when a shadow model diverges.
        WorkerError: when the processes that train them keep dying.
        RunFolderError: when the folder holds shadow models of something else.
    """
    config = work.config
    count = config.shadows.count
    if not count:
        return {}
    work.enter("shadows", f"shadow models: {count}, each the whole recipe on its own draw of rows")
    started = time.perf_counter()
    splits = work.splits
    plan = Plan(
        shadow_config(config, made.compressed, _settings(work)),
        concatenate(splits.members, splits.steer.nonmembers, sealed.nonmembers),
        class_names=splits.class_names,
        members=len(splits.members),
        steer=len(splits.steer.members) / len(splits.members),
        reference=0 if splits.reference is None else len(splits.reference),
    )
    cohort = Cohort.begin(work.folder.path / FOLDER, plan)
    train_cohort(cohort, count, config.shadows, model=prepared.factory, listen=work.listen)
    work.spent("shadows", time.perf_counter() - started)
    work.listen(Event("note", f"  {count} shadow models are there", {}))

    def said(kind: str) -> Pool[References]:
        return sealed.map(lambda rows: cohort.references(range(count), kind, rows.ids))

    return {kind: said(kind) for kind in (COMPRESSED, *((DENSE,) if made.dense else ()))}


def shadow_config(
    config: CompressConfig, compressed: StoredModel, settings: Mapping[Stage, Probed]
) -> CompressConfig:
    """Return the recipe that made a model, with nothing left to choose.

    Args:
        config: the run's.
        compressed: the model; its lineage is replayed.
        settings: how the stages were trained, instead of being timed anew for every shadow model.
    """
    dense = None if config.dense is None else _trained_alike(config.dense, settings.get("dense"))
    train = _trained_alike(config.sparse.train, settings.get("sparse"))
    return config.model_copy(
        update={
            "seed": derive(config.seed, "shadows"),
            "out": None,
            "data": None,
            "dense": dense,
            "sparse": config.sparse.model_copy(update={"train": train, "patience": None}),
            # Tests that choose nothing would only take time.
            "steer": config.steer.model_copy(
                update={
                    "replay": tuple(compressed.metadata["lineage"]),
                    "attacks": ("loss",),
                    "objective": {"tm": {"attack": "auc"}},
                    "population": 1,
                }
            ),
            "verdict": VerdictConfig(),
            "shadows": ShadowsConfig(),
            "baselines": (),
        }
    )


def _trained_alike(train: TrainConfig, settings: Probed | None) -> TrainConfig:
    if settings is None:
        return train
    return train.model_copy(
        update={"precision": settings.precision, "memory_format": settings.memory_format}
    )


def _settings(work: Work) -> dict[Stage, Probed]:
    stages: tuple[Stage, ...] = ("dense", "sparse")
    noted = {stage: work.notes.get(f"settings/{stage}") for stage in stages}
    return {stage: Probed.from_json(found) for stage, found in noted.items() if found is not None}
