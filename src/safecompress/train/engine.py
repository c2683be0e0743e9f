"""`launched`, `MixedPrecision`: the processes and the precision that a configuration asks for.

They are those of Lightning Fabric. Importing it takes seconds, longer than a small run, because it
loads a compiler and whatever else of Lightning is installed; so what it would do nothing for, one
process that trains in fp32 on a CPU, is `Alone`.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from safecompress.config import EngineConfig
from safecompress.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LAUNCHERS = frozenset(
    ("LOCAL_RANK", "RANK", "WORLD_SIZE", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "LSB_JOBID")
) | {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}
"""Environment variables by which Fabric sees that something started this process among others."""


class Alone:
    """One process that trains in fp32 on a CPU, with what training uses of Fabric's interface."""

    device: ClassVar[torch.device] = torch.device("cpu")
    global_rank: ClassVar[int] = 0
    world_size: ClassVar[int] = 1

    def setup(self, module: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Return both as they are.

        Args:
            module: the module, on the CPU.
            optimizer: its optimizer.
        """
        return module, optimizer

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the parameters.

        Args:
            loss: a scalar.
        """
        loss.backward()  # type: ignore[no-untyped-call]

    def broadcast(self, tensor: Tensor, src: int = 0) -> Tensor:
        """Return a tensor of process 0, which is this one.

        Args:
            tensor: the tensor.
            src: 0.
        """
        del src
        return tensor

    def all_reduce(self, tensor: Tensor, reduce_op: str = "mean") -> Tensor:
        """Return what a tensor is over all processes.

        Args:
            tensor: the tensor.
            reduce_op: `mean` or `sum`, which are the same over one process.
        """
        del reduce_op
        return tensor


Processes: TypeAlias = "Fabric | Alone"
"""The processes that share a training, and their device."""


def launched(config: EngineConfig, *, precision: str) -> Processes:
    """Return the processes that train, launched.

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
    processes = _processes(config, precision=precision)
    if not isinstance(processes, Alone):
        processes.launch()
    return processes


def device_of(config: EngineConfig) -> torch.device:
    """Return the device that this process will train on.

    Args:
        config: accelerator and devices.

    Raises:
        ConfigError: when the hardware is not available.
    """
    return _processes(config, precision="32-true").device


def trains_alone(config: EngineConfig) -> bool:
    """Return whether a single process trains.

    Args:
        config: accelerator and devices.

    Raises:
        ConfigError: when the hardware is not available.
    """
    return bool(_processes(config, precision="32-true").world_size == 1)


def _processes(config: EngineConfig, *, precision: str) -> Processes:
    if precision == "32-true" and _is_one_on_a_cpu(config):
        return Alone()
    return _fabric(config, precision=precision)


def _is_one_on_a_cpu(config: EngineConfig) -> bool:
    """Return whether Fabric would train on the CPU, in this process alone."""
    if config.accelerator == "auto":
        others = torch.cuda.device_count() > 0 or torch.backends.mps.is_available()
        on_cpu = not others and find_spec("torch_xla") is None
    else:
        on_cpu = config.accelerator == "cpu"
    started = any(name in _LAUNCHERS or name.startswith("LT_") for name in os.environ)
    return on_cpu and config.devices in (1, "auto") and not started


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
