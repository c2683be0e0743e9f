"""The trainings of a run: how long each is, with which settings, and which defenses it carries."""

from __future__ import annotations

from typing import Literal, TypeAlias

from safecompress.config import CompressConfig, Request, TrainConfig
from safecompress.data import Splits
from safecompress.defenses import DEFENSES
from safecompress.errors import ConfigError
from safecompress.proposals import PROPOSALS, UNPAIRING
from safecompress.protocols import Defense
from safecompress.train import require_together, steps_per_epoch

Job: TypeAlias = Literal["dense", "student", "pruning", "baseline", "search"]
"""What is trained: the dense model, the student, the dense model towards its mask, and the two
that are compared, a baseline and the candidates of the search."""
ConfiguredStage: TypeAlias = Literal["dense", "student", "sparse"]
"""Stages whose length and batches a section of the configuration gives."""
Stage: TypeAlias = ConfiguredStage | Literal["pruning"]
"""Jobs that share their length, their order of batches and their settings are one stage. How long
dense weights train towards a first mask, the mask says."""


def stage_of(job: Job) -> Stage:
    """Return the stage of a job: baseline and search differ only in what is being compared."""
    return "sparse" if job in {"baseline", "search"} else job  # type: ignore[return-value]


def train_config(config: CompressConfig, stage: ConfiguredStage, *, trained: bool) -> TrainConfig:
    """Return how a stage trains.

    Args:
        config: the run's configuration; a dense stage that it leaves open follows the sparse one.
        stage: the stage.
        trained: whether the weights were given trained, so that a dense stage left open has no
            length.
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
    """Return how the model is trained from nothing, also where the dense stage is skipped."""
    dense = train_config(config, "dense", trained=trained)
    return dense if dense.epochs else config.sparse.train


def training_steps(train: TrainConfig, *, rows: int) -> int:
    """Return the optimizer steps of a training on so many rows."""
    return round(train.epochs * steps_per_epoch(rows, train))


def build_defenses(
    config: CompressConfig, splits: Splits, job: Job, *, own: Defense | None = None
) -> list[Defense]:
    """Build the configured defenses of a job anew; a baseline has none.

    Args:
        config: lists them.
        splits: tells whether there are reference rows.
        job: what is trained.
        own: what the job itself adds to them, such as what draws weights towards a first mask.

    Raises:
        ConfigError: on an unknown one, one that needs reference rows where the split has none, or
            some that do not go together.
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
        # Candidates of other proposals carry it, too, and it adds nothing to their loss.
        built.append(DEFENSES.build({UNPAIRING: {"weight": 0.0}}, where="steer.proposals"))
    for defense in built:
        if defense.needs_reference and splits.reference is None:
            raise ConfigError(
                f"{where}: '{defense.name}' needs rows that are neither members nor "
                "judged; set data.split.reference, e.g. 0.2."
            )
    built += [] if own is None else [own]
    require_together(built)
    return built


def _unpairing_proposed(config: CompressConfig) -> bool:
    """Return whether a proposal unpairs its candidate from the dense model."""
    return any(
        UNPAIRING in PROPOSALS.build(request, where=f"steer.proposals[{i}]").requires
        for i, request in enumerate(config.steer.proposals)
    )
