"""`CompressConfig`: the configuration of a compression, composed of its sections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from safecompress.config.data import DataConfig
from safecompress.config.engine import EngineConfig
from safecompress.config.judging import ShadowsConfig, SteerConfig, VerdictConfig
from safecompress.config.section import Section
from safecompress.config.sparse_stage import SparseConfig
from safecompress.config.training import DenseConfig, ModelConfig, TeachersConfig


class CompressConfig(Section):
    """Everything `safecompress compress` needs."""

    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of every random decision: equal seeds on equal machines give equal bits.",
    )
    out: Path | None = Field(
        default=None,
        description="Run folder, new or empty. Left out, it is `runs/NAME-seedN`.",
    )
    data: DataConfig | None = Field(
        default=None,
        description="The rows, who of them is a member, and how they become tensors. May be left "
        "out only where splits are passed to `safecompress.compress` in Python.",
    )
    model: ModelConfig | None = Field(
        default=None,
        description="The model to compress. May be left out only where one is passed to "
        "`safecompress.compress` in Python.",
    )
    dense: DenseConfig | None = Field(
        default=None,
        description="Training of the dense model before compression. Left out, it is trained as "
        "long as the sparse stage and in the same way, and a model given with weights is not "
        "trained on.",
    )
    sparse: SparseConfig = Field(
        description="The target density, the first mask, and the rounds of mask updates."
    )
    teachers: TeachersConfig = Field(
        default=TeachersConfig(),
        description="Models that label the members they never saw, trained only where a proposal "
        "or the first mask uses such labels.",
    )
    steer: SteerConfig = Field(
        default=SteerConfig(),
        description="What happens in every round: proposals, defenses, attacks, and how candidates "
        "are ranked.",
    )
    verdict: VerdictConfig = Field(
        default=VerdictConfig(),
        description="The final tests on sealed rows, and their confidence level.",
    )
    shadows: ShadowsConfig = Field(
        default=ShadowsConfig(),
        description="Models of the same recipe on other draws of the rows, which make the "
        "verdict's attacks stronger. By default none are trained.",
    )
    baselines: tuple[Literal["magnitude"], ...] = Field(
        default=("magnitude",),
        description="Other ways to the same density, trained for the same epochs and judged on "
        "the same sealed rows: `magnitude` prunes the dense model once. Empty trains none, which "
        "saves one sparse stage.",
    )
    engine: EngineConfig = Field(
        default=EngineConfig(),
        description="The device, the threads, the loggers and the checkpoints.",
    )
