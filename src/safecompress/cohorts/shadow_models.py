"""`shadows_of`, `shadows_of_run`: shadow models, which repeat a run's recipe on other row draws."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.plan import CohortPlan
from safecompress.cohorts.processes import train_cohort
from safecompress.compression.pipeline import TrainedModels
from safecompress.compression.prepare import PreparedRun
from safecompress.compression.session import Session
from safecompress.config import CompressConfig, ShadowsConfig, TrainConfig, VerdictConfig
from safecompress.data import Splits
from safecompress.data.rows import concatenate
from safecompress.errors import ConfigError
from safecompress.events import Event, Listener
from safecompress.files import read_json
from safecompress.protocols import Pool, References, Rows
from safecompress.randomness import derive
from safecompress.run.folder import DENSE as DENSE_FILE
from safecompress.run.folder import MODEL, PROVENANCE
from safecompress.run.model_file import StoredModel, read_model
from safecompress.targets import RunTarget
from safecompress.train import Arithmetic
from safecompress.verdict_names import COMPRESSED, DENSE

FOLDER = "shadows"


def shadows_of(
    session: Session, prepared: PreparedRun, made: TrainedModels, sealed: Pool[Rows]
) -> Mapping[str, Pool[References]]:
    """Train a run's shadow models, or read those that its folder holds.

    Their members are drawn from members, steering rows and sealed rows. Training on sealed rows is
    allowed, because the shadow models' outputs are only compared with the judged model's, and
    choose nothing.

    Args:
        session: the run; its folder keeps the shadow models' outputs.
        prepared: what the run began with.
        made: its models.
        sealed: the sealed rows.

    Returns:
        By the name of a model, `compressed` and `dense`, what its shadow models say of the sealed
        rows; empty if the configuration has no shadow models.

    Raises:
        NonFiniteError: when a shadow model diverges.
        WorkerError: when the processes that train them keep dying.
        RunFolderError: when the folder holds shadow models of something else.
    """
    config = session.config
    if not config.shadows.count:
        return {}
    session.progress.enter("shadows", _announced(config.shadows))
    started = time.perf_counter()
    settings = session.progress.notes.settings
    recipe = shadow_config(
        config, made.compressed, dense=settings.get("dense"), sparse=settings.get("sparse")
    )
    cohort = _cohort(session.folder.path, recipe, session.splits, sealed)
    train_cohort(
        cohort, config.shadows.count, config.shadows, model=prepared.factory, listen=session.listen
    )
    session.progress.add_seconds("shadows", time.perf_counter() - started)
    return _references(cohort, config.shadows.count, sealed, dense=made.dense is not None)


def shadows_of_run(
    run: RunTarget, sealed: Pool[Rows], config: ShadowsConfig, *, listen: Listener
) -> Mapping[str, Pool[References]]:
    """Train shadow models of a finished run, or read those that its folder holds.

    Args:
        run: the run; its folder keeps the shadow models' outputs.
        sealed: the sealed rows.
        config: number of shadow models, and where they are trained.
        listen: called with an event for each trained model.

    Returns:
        By the name of a model, `compressed` and `dense`, what its shadow models say of the sealed
        rows.

    Raises:
        ConfigError: when the run began with trained weights, so that their recipe is not known.
        NonFiniteError, WorkerError, RunFolderError: as `shadows_of`.
    """
    if run.config.model is None or run.config.model.weights is not None:
        raise ConfigError(
            f"{run.folder}: began with trained weights; a shadow model repeats the whole recipe "
            "from nothing, and how these weights came about is not known here."
        )
    made_with = read_json(run.folder / PROVENANCE)
    dense, sparse = (
        None if recorded is None else Arithmetic.from_json(recorded)
        for recorded in (made_with.get("dense_precision"), made_with.get("precision"))
    )
    compressed = read_model(run.folder / MODEL)
    recipe = shadow_config(run.config, compressed, dense=dense, sparse=sparse)
    listen(Event("stage", _announced(config), {"stage": "shadows"}))
    cohort = _cohort(run.folder, recipe, run.splits, sealed)
    train_cohort(cohort, config.count, config, listen=listen)
    return _references(cohort, config.count, sealed, dense=(run.folder / DENSE_FILE).is_file())


def _announced(config: ShadowsConfig) -> str:
    return f"shadow models: {config.count}, each the whole recipe on its own draw of the rows"


def _cohort(folder: Path, recipe: CompressConfig, splits: Splits, sealed: Pool[Rows]) -> Cohort:
    members = splits.ordinary_members
    plan = CohortPlan(
        recipe,
        concatenate(members, splits.steer.nonmembers, sealed.nonmembers),
        class_names=splits.class_names,
        tokens=splits.tokens,
        members=len(members),
        steer=len(splits.steer.members) / len(members),
        reference=splits.reference,
    )
    return Cohort.begin(folder / FOLDER, plan)


def _references(
    cohort: Cohort, count: int, sealed: Pool[Rows], *, dense: bool
) -> dict[str, Pool[References]]:
    def of(kind: str) -> Pool[References]:
        return sealed.map(lambda rows: cohort.references(range(count), kind, rows.ids))

    return {kind: of(kind) for kind in (COMPRESSED, *((DENSE,) if dense else ()))}


def shadow_config(
    config: CompressConfig,
    compressed: StoredModel,
    *,
    dense: Arithmetic | None,
    sparse: Arithmetic | None,
) -> CompressConfig:
    """Return the recipe that made a model: the run's configuration with its choices fixed.

    Args:
        config: the run's configuration.
        compressed: the model; its lineage replaces the search.
        dense: precision and memory format of the dense stage, so that they are not chosen again
            for every shadow model; None leaves the choice to each.
        sparse: precision and memory format of the sparse stage, likewise.
    """
    trained = None if config.dense is None else _trained_alike(config.dense, dense)
    train = _trained_alike(config.sparse.train, sparse)
    return config.model_copy(
        update={
            "seed": derive(config.seed, "shadows"),
            "out": None,
            "trackers": (),
            "preset": None,
            "data": None,
            "dense": trained,
            "sparse": config.sparse.model_copy(update={"train": train, "patience": None}),
            # The lineage is fixed, so the loop's tests choose nothing; the cheapest are enough.
            "teachers": config.teachers.model_copy(update={"judges": 0}),
            "steer": config.steer.model_copy(
                update={
                    "replay": tuple(compressed.metadata["lineage"]),
                    "attacks": ("loss",),
                    "measures": (),
                    "objective": {"tm": {"attack": "auc"}},
                    "population": 1,
                }
            ),
            "verdict": VerdictConfig(),
            "shadows": ShadowsConfig(),
            "baselines": (),
        }
    )


def _trained_alike(train: TrainConfig, settings: Arithmetic | None) -> TrainConfig:
    if settings is None:
        return train
    return train.model_copy(
        update={"precision": settings.precision, "memory_format": settings.memory_format}
    )
