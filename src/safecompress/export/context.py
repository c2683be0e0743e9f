"""`ExportContext`: all that a format may make a file of."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
from torch import nn

from safecompress.data import Preprocessor
from safecompress.errors import ConfigError
from safecompress.protocols import Inputs, leading_size, map_inputs
from safecompress.topology import Topology
from safecompress.transforms import PLAIN, Quantization, attach_

T = TypeVar("T")
CALIBRATION = 512
"""Members that fix the ranges of activations."""


@dataclass(frozen=True)
class ExportContext:
    """A module and its topology, and what a file of them needs; made by `ExportContext.of`.

    Args:
        module: plain, float32, on the CPU, in evaluation mode; missing weights are zero.
        topology: which of its weights exist.
        members: inputs of up to 512 rows the module was trained on, as it takes them: they show
            the shapes, and their activations fix the ranges of int8.
        preprocessor: to be put into the file, which then takes raw rows; None leaves it out.
        raw_type: of the raw rows' numbers; None without a preprocessor.
        numbers: steps and ranges the weights were trained with; None where they are fp32.
    """

    module: nn.Module
    topology: Topology
    members: Inputs
    preprocessor: Preprocessor | None = None
    raw_type: np.dtype[Any] | None = None
    numbers: Quantization | None = None
    _made: dict[Callable[..., Any], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(
        cls,
        module: nn.Module,
        topology: Topology,
        members: Inputs,
        *,
        preprocessor: Preprocessor | None = None,
        raw_type: np.dtype[Any] | None = None,
        numbers: Quantization | None = None,
    ) -> ExportContext:
        """Return the context of a copy of a module, with missing weights set to zero.

        Args:
            module: plain, with float32 weights; left as it is.
            topology: which of its weights exist.
            members: inputs of rows it was trained on, as it takes them; at least one row.
            preprocessor: to be put into the file.
            raw_type: of the raw rows the preprocessor takes; needed with a preprocessor.
            numbers: steps and ranges the weights were trained with; whole numbers in a file are
                those. Ranges that are not known are those of the members' activations.

        Raises:
            ConfigError: without members, or with a preprocessor and no type of its rows.
        """
        n = leading_size(members)
        if n == 0:
            raise ConfigError("export: no members; their activations fix the ranges of int8.")
        if preprocessor is not None and raw_type is None:
            raise ConfigError("export: a preprocessor was given without raw_type, its rows' type.")
        copied = deepcopy(module).cpu().eval()
        topology.apply_(copied)
        if numbers is not None:
            # A file gets the rounding of layers' inputs by operators of its own.
            attach_(copied, PLAIN)
        at = np.unique(np.linspace(0, n - 1, min(n, CALIBRATION)).astype(np.int64))
        few = map_inputs(lambda t: t[at].cpu(), members)
        return cls(copied, topology, few, preprocessor, raw_type, numbers)

    def once(self, make: Callable[[ExportContext], T]) -> T:
        """Return `make(self)`, made at the first call and kept: formats share what takes long.

        Args:
            make: a pure function, or a class built from a context.
        """
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])
