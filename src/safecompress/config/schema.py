"""`CompressConfig`: the configuration of a compression, composed of its sections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from safecompress.config.data import DataConfig
from safecompress.config.engine import EngineConfig
from safecompress.config.judging import (
    PRESETS,
    Preset,
    ShadowsConfig,
    SteerConfig,
    VerdictConfig,
)
from safecompress.config.section import Section
from safecompress.config.sparse_stage import SparseConfig
from safecompress.config.trackers import TRACKERS_HELP, Trackers
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
    preset: Preset | None = Field(
        default=None,
        description="What the search is to prefer, measured by the limits of the verdict: "
        "`accurate` takes the least leak without loss of accuracy, `private` the most accurate of "
        "those that surely keep the limits on leaks, `balanced` the largest of the smallest "
        "margins. It sets `steer.objective` and leaves the verdict's limits as they are. Left out, "
        "`steer.objective` decides.",
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
        description="The device, the threads and the checkpoints.",
    )
    trackers: Trackers = Field(default=(), description=TRACKERS_HELP)

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        """Set the objective that a preset stands for."""
        preset = given.get("preset") if isinstance(given, Mapping) else None
        steer = given.get("steer") or {} if preset in PRESETS else None
        if isinstance(steer, SteerConfig):
            steer = steer.model_dump(mode="json", exclude_unset=True)
        if preset is None or not isinstance(steer, Mapping):
            return given
        objective = steer.get("objective")
        # A stored configuration holds its preset and the objective that the preset set.
        if objective is not None and objective not in PRESETS.values():
            raise ValueError(
                f"preset is {preset!r} and steer.objective is {objective!r}; give one of them"
            )
        return {**given, "steer": {**steer, "objective": PRESETS[preset]}}
