"""The configuration of a compression, from its sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from safecompress.config.data import DataConfig
from safecompress.config.judging import ShadowsConfig, SteerConfig, VerdictConfig
from safecompress.config.section import Section
from safecompress.config.training import (
    DenseConfig,
    EngineConfig,
    ModelConfig,
    SparseConfig,
    TeachersConfig,
)


class CompressConfig(Section):
    """Everything `safecompress compress` needs.

    Args:
        seed: fixes every random decision.
        out: run folder; by default `runs/NAME-seedN`.
        data: the data; may be left out when splits are passed to `compress`.
        model: the model; may be left out when one is passed to `compress`.
        dense: training of the dense model before compression, or of a model given with weights
            (then 0 epochs by default).
        teachers: models that label the members they never saw, where a proposal uses such labels.
        shadows: models of the same recipe on other draws of the rows, for stronger attacks.
        baselines: other ways of the same density, trained for the same epochs and judged on the
            same sealed rows: `magnitude`.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    out: Path | None = None
    data: DataConfig | None = None
    model: ModelConfig | None = None
    dense: DenseConfig | None = None
    sparse: SparseConfig
    teachers: TeachersConfig = TeachersConfig()
    steer: SteerConfig = SteerConfig()
    verdict: VerdictConfig = VerdictConfig()
    shadows: ShadowsConfig = ShadowsConfig()
    baselines: tuple[Literal["magnitude"], ...] = ("magnitude",)
    engine: EngineConfig = EngineConfig()
