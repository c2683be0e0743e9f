"""`Job`, `Stage`, `build_defenses`: a run's trainings, their lengths, settings and defenses."""

from __future__ import annotations

from typing import Literal, TypeAlias

from safecompress.config import CompressConfig, Request, TrainConfig
from safecompress.data import Splits
from safecompress.defenses import DEFENSES
from safecompress.errors import ConfigError
from safecompress.proposals import PROPOSALS, UNPAIRING
from safecompress.protocols import Defense
from safecompress.train import require_no_accounting, require_together, steps_per_epoch

Job: TypeAlias = Literal["dense", "student", "pruning", "baseline", "search"]
"""What is trained: the dense model, the student, the dense model towards its first mask (pruning),
a baseline, or the candidates of the search."""
ConfiguredStage: TypeAlias = Literal["dense", "student", "sparse"]
"""Stages whose length and batches are given by a section of the configuration."""
Stage: TypeAlias = ConfiguredStage | Literal["pruning"]
"""Jobs with the same length, order of batches and settings are one stage. The length of the stage
`pruning` is given by the first mask."""


def stage_of(job: Job) -> Stage:
    """Return the stage of a job; baseline and search share one, so that they can be compared.

    Args:
        job: what is trained.
    """
    return "sparse" if job in {"baseline", "search"} else job  # type: ignore[return-value]


def train_config(config: CompressConfig, stage: ConfiguredStage, *, trained: bool) -> TrainConfig:
    """Return how a stage trains.

    Args:
        config: the run's configuration; without a section `dense` that stage trains like the
            sparse stage.
        stage: the stage.
        trained: whether the weights were given trained; then a dense stage without a section has
            0 epochs.
    """
    sparse = config.sparse
    if stage == "student":
        return sparse.student.train or sparse.train
    if stage == "dense":
        if config.dense is not None:
            return config.dense
        return sparse.train.model_copy(update={"epochs": 0} if trained else {})
    return sparse.train


def whole_training(config: CompressConfig, *, trained: bool) -> TrainConfig:
    """Return how a model is trained from untrained weights, also if the dense stage is skipped.

    Args:
        config: the run's configuration.
        trained: whether the run's weights were given trained.
    """
    dense = train_config(config, "dense", trained=trained)
    return dense if dense.epochs else config.sparse.train


def training_steps(train: TrainConfig, *, rows: int) -> int:
    """Return the optimizer steps of a training.

    Args:
        train: gives epochs and batch size.
        rows: number of training rows.
    """
    return round(train.epochs * steps_per_epoch(rows, train))


def build_defenses(
    config: CompressConfig, splits: Splits, job: Job, *, own: Defense | None = None
) -> list[Defense]:
    """Build new instances of a job's configured defenses; a baseline has none.

    Args:
        config: lists the defenses.
        splits: the rows; some defenses need reference rows.
        job: what is trained.
        own: a defense that the job itself adds, such as the penalty of pruning by ADMM.

    Raises:
        ConfigError: on an unknown defense, one that needs reference rows if the splits have none,
            or defenses that cannot be combined.
    """
    requests: tuple[Request, ...] = ()
    where = "dense.defenses" if job == "dense" else "steer.defenses"
    if job == "dense" and config.dense is not None:
        requests = config.dense.defenses
    elif job in {"student", "pruning", "search"}:
        requests = config.steer.defenses
    built = [DEFENSES.build(request, where=f"{where}[{i}]") for i, request in enumerate(requests)]
    if (
        job == "search"
        and UNPAIRING not in {defense.name for defense in built}
        and _unpairing_proposed(config)
    ):
        # All candidates of a search share one trainer, so the defense is there for every candidate;
        # its weight 0 adds nothing to the loss of those that do not unpair.
        built.append(DEFENSES.build({UNPAIRING: {"weight": 0.0}}, where="steer.proposals"))
    for defense in built:
        if defense.needs_reference and splits.reference is None:
            raise ConfigError(
                f"{where}: '{defense.name}' needs rows that are neither members nor "
                "judged; set data.split.reference, e.g. 0.2."
            )
        if defense.needs_soft_labels and job not in {"student", "search"}:
            raise ConfigError(
                f"{where}: '{defense.name}' needs the labels of teachers, which only the student "
                "and the candidates have; give it to steer.defenses, with a first mask that has "
                "no training of its own."
            )
    built += [] if own is None else [own]
    require_together(built)
    if job in {"student", "search"} and config.teachers.transfer_set is not None:
        require_no_accounting(built)
    return built


def _unpairing_proposed(config: CompressConfig) -> bool:
    """Return whether a proposal unpairs its candidate from the dense model."""
    return any(
        UNPAIRING in PROPOSALS.build(request, where=f"steer.proposals[{i}]").requires
        for i, request in enumerate(config.steer.proposals)
    )
