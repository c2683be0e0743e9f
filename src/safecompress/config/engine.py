"""`EngineConfig`: the device, the threads and the checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from safecompress.config.section import Section


class EngineConfig(Section):
    """On what a run computes, and how often it notes where it stands."""

    @model_validator(mode="before")
    @classmethod
    def _without_loggers(cls, given: Any) -> Any:
        """Read stored configurations of versions that listed trackers here, which held none."""
        if not isinstance(given, Mapping) or "loggers" not in given:
            return given
        if given["loggers"]:
            raise ValueError("loggers: is now the list `trackers` at the top level")
        return {key: value for key, value in given.items() if key != "loggers"}

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = Field(
        default="auto",
        description="Kind of device, as Lightning Fabric names them. `auto` takes the fastest one "
        "there is; name `cpu` to leave a GPU to others.",
    )
    devices: Annotated[int, Field(gt=0)] | Literal["auto"] = Field(
        default=1,
        description="Number of devices that share every batch equally, so that `batch_size` "
        "must be a multiple of it; `auto` takes all there are. Raise it where one is too slow.",
    )
    threads: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="Number of CPU threads that torch computes with. Left out, torch chooses one "
        "a core, and more than four times as many are refused. Set it where other programs need "
        "cores, or to repeat the rounding of a run made with another number.",
    )
    checkpoint_seconds: float = Field(
        default=30.0,
        ge=0,
        description="Shortest time in seconds between two checkpoints inside a stage, and so about "
        "the most work that a kill can cost. Raise it where the disk is slow.",
    )
