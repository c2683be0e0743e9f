"""`EngineConfig`: the device, the threads and the logs of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from safecompress.config.section import Section


class EngineConfig(Section):
    """On what a run computes, and what it writes meanwhile."""

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
    loggers: tuple[Literal["csv", "tensorboard"], ...] = Field(
        default=(),
        description="Formats in which training curves are also written into the run folder: "
        "`csv`, `tensorboard` (an extra), or both. Empty writes none.",
    )
    checkpoint_seconds: float = Field(
        default=30.0,
        ge=0,
        description="Shortest time in seconds between two checkpoints inside a stage, and so about "
        "the most work that a kill can cost. Raise it where the disk is slow.",
    )
