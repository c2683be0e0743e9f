"""`make_fabric`, `MixedPrecision`: Lightning Fabric as the engine's configuration asks for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from safecompress.config import EngineConfig
from safecompress.errors import ConfigError

if TYPE_CHECKING:
    # Fabric imports a compiler that takes a second to load, and only training needs it.
    from lightning_fabric import Fabric


def make_fabric(config: EngineConfig, *, precision: str) -> Fabric:
    """Return a launched Fabric.

    Args:
        config: accelerator and devices.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.

    Raises:
        ConfigError: when the hardware or the precision is not available.
    """
    if precision == "16-mixed" and device_of(config).type == "cpu":
        # Fabric itself would only warn, and train in bf16 instead.
        raise ConfigError(
            "train.precision: 16-mixed needs a GPU; on a CPU use bf16-mixed, 32-true or auto."
        )
    fabric = _fabric(config, precision=precision)
    fabric.launch()
    return fabric


def device_of(config: EngineConfig) -> torch.device:
    """Return the device that this process will train on.

    Args:
        config: accelerator and devices.

    Raises:
        ConfigError: when the hardware is not available.
    """
    return _fabric(config, precision="32-true").device


def trains_alone(config: EngineConfig) -> bool:
    """Return whether a single process trains.

    Args:
        config: accelerator and devices.

    Raises:
        ConfigError: when the hardware is not available.
    """
    return bool(_fabric(config, precision="32-true").world_size == 1)


def _fabric(config: EngineConfig, *, precision: str) -> Fabric:
    from lightning_fabric import Fabric

    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    # Fabric logs its precision to the console, where only the command line should write.
    logger.setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            precision=precision,  # type: ignore[arg-type]
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"engine: accelerator {config.accelerator} with {config.devices} device(s) cannot be "
            f"used here: {error} Try engine.accelerator: cpu and engine.devices: 1."
        ) from error
    finally:
        logger.setLevel(level)


class MixedPrecision(nn.Module):
    """A module on one device, with its forward pass in mixed precision.

    It replaces Fabric's own wrapper, which forbids a gradient of the outputs before the step's
    backward pass; a defense that penalizes input gradients takes one.

    Args:
        module: takes and returns fp32.
        fabric: gives the precision.
    """

    def __init__(self, module: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.module = module
        self._precision = fabric.strategy.precision

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the module's output, computed in mixed precision, in fp32."""
        args, kwargs = self._precision.convert_input((args, kwargs))
        with self._precision.forward_context():
            output = self.module(*args, **kwargs)
        return self._precision.convert_output(output)
