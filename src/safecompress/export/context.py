"""`ExportContext`: the module, topology and rows that a format writes a file from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np
from torch import nn

from safecompress.data import Preprocessor
from safecompress.errors import ConfigError
from safecompress.protocols import Inputs, leading_size, map_inputs
from safecompress.spacing import evenly_spaced
from safecompress.topology import Topology
from safecompress.transforms import PLAIN, Quantization, attach_

T = TypeVar("T")
CALIBRATION = 512
"""Most members whose activations fix the ranges of static int8."""


@dataclass(frozen=True)
class ExportContext:
    """A module, its topology and what else a format needs; `ExportContext.of` makes one.

    Args:
        module: plain, float32, on the CPU, in evaluation mode; missing weights are zero.
        topology: which of its weights exist.
        members: model-ready inputs of at most 512 rows that the module was trained on. They give
            the shapes, and their activations fix the ranges of static int8.
        preprocessor: goes into the file, which then takes raw rows; None leaves it out.
        raw_type: dtype of the raw rows; None without a preprocessor.
        numbers: scales and ranges of quantization-aware training; None where the module was trained
            in fp32.
        kept: layers that a format rounds less than others, or not at all: their number format, one
            of `Format.finer`, by their names in `Format.layers`.
    """

    module: nn.Module
    topology: Topology
    members: Inputs
    preprocessor: Preprocessor | None = None
    raw_type: np.dtype[Any] | None = None
    numbers: Quantization | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
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
            module: plain, with float32 weights; it is not changed.
            topology: which of its weights exist.
            members: model-ready inputs of rows that it was trained on, at least one; 512 of them,
                evenly spaced, are kept.
            preprocessor: goes into the file, where the format can hold it.
            raw_type: dtype of the raw rows; required with a preprocessor.
            numbers: scales and ranges of quantization-aware training, which files then use. Missing
                ranges are taken from the members' activations.

        Raises:
            ConfigError: without members, or with a preprocessor and no `raw_type`.
        """
        n = leading_size(members)
        if n == 0:
            raise ConfigError("export: no members; their activations fix the ranges of int8.")
        if preprocessor is not None and raw_type is None:
            raise ConfigError("export: a preprocessor was given without raw_type, its rows' type.")
        copied = deepcopy(module).cpu().eval()
        topology.apply_(copied)
        if numbers is not None:
            # The hooks that round layers' inputs are removed: a file rounds by operators instead.
            attach_(copied, PLAIN)
        at = evenly_spaced(n, CALIBRATION)
        few = map_inputs(lambda t: t[at].cpu(), members)
        return cls(copied, topology, few, preprocessor, raw_type, numbers)

    def keeping(
        self,
        kept: Mapping[str, str],
        *,
        sharing: Iterable[Callable[[ExportContext], Any]] = (),
        prepared: bool = False,
    ) -> ExportContext:
        """Return the context with other layers in finer number formats.

        Args:
            kept: these number formats by the names of layers.
            sharing: arguments of `once` whose results do not depend on the layers.
            prepared: whether the file takes prepared rows whatever this context's file takes.
        """
        other = replace(self, kept=dict(kept))
        if prepared:
            other = replace(other, preprocessor=None, raw_type=None)
        other._made.update({make: self.once(make) for make in sharing})
        return other

    def once(self, make: Callable[[ExportContext], T]) -> T:
        """Return `make(self)`, computed at the first call: formats share results that take long.

        Args:
            make: a pure function of a context, or a class built from one; it is also the key.
        """
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])
