"""`Source`, `open_source`: a finished run with its model, its splits and its raw rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from safecompress.data import Preprocessor, Splits
from safecompress.data.sources import load_source
from safecompress.errors import RunFolderError
from safecompress.export.context import ExportContext
from safecompress.export.format import Format
from safecompress.export.front import expressible, raw_rows
from safecompress.models.given import ModelSource
from safecompress.run.folder import DENSE, VERDICT
from safecompress.targets import RunTarget, open_run
from safecompress.transforms import Exportable, exportable
from safecompress.verdicts.document import CompressVerdict
from safecompress.verdicts.read import read_verdict

_RAW_TYPES = frozenset({"f2", "f4", "f8", "u1", "i1", "i2", "i4", "i8"})


@dataclass(frozen=True)
class Source:
    """The run that an export starts from.

    Args:
        run: the run; opening its sealed rows counts a look.
        module: its compressed model, as it was judged.
        verdict: its verdict.
    """

    run: RunTarget
    module: nn.Module
    verdict: CompressVerdict

    @cached_property
    def shipped(self) -> Exportable:
        """The model of all files: without removed channels, with quantized weights rounded."""
        stored = self.run.stored
        return exportable(self.module, stored.topology, stored.transforms)

    @cached_property
    def front(self) -> Preprocessor | None:
        """The preprocessing that goes into the file; None where the file takes preprocessed rows.

        It goes in where operators can express it and the raw rows can be read again: the retest
        needs raw rows, and every part of a file is tested.
        """
        fitted = self.run.splits.preprocessor
        if fitted is None or self.run.config.data is None or not expressible(fitted):
            return None
        return fitted if self.raw_type.str[1:] in _RAW_TYPES else None

    @cached_property
    def _columns(self) -> Any:
        data = self.run.config.data
        return None if data is None else load_source(data.source, seed=self.run.config.seed).columns

    @property
    def raw_type(self) -> np.dtype[Any]:
        """The dtype of the raw rows."""
        columns = self._columns
        return np.dtype(np.float64) if isinstance(columns, tuple) else columns.dtype

    def raw(self, ids: Tensor) -> NDArray[Any]:
        """Return raw rows as the file takes them.

        Args:
            ids: int64 (n,), ids of rows.

        Raises:
            RunFolderError: where `front` is None.
        """
        if self.front is None:
            raise RunFolderError(f"{self.run.folder}: its raw rows are not to be had.")
        return raw_rows(self.front, self._columns, ids.numpy())

    def context(self, form: Format) -> ExportContext:
        """Return what a file is written from, with preprocessing where the format can hold it.

        Args:
            form: the format.
        """
        front = self.front if form.prepares else None
        return ExportContext.of(
            self.shipped.module,
            self.shipped.topology,
            self.run.splits.members.inputs,
            preprocessor=front,
            raw_type=None if front is None else self.raw_type,
            numbers=self.shipped.numbers,
        )

    def dense(self) -> nn.Module | None:
        """Return the run's dense model; None where its folder holds none."""
        if not (self.run.folder / DENSE).is_file():
            return None
        return self.run.baseline(DENSE)


def open_source(
    run: Path, *, model: ModelSource | None, data: Splits | None, trust_code: bool
) -> Source:
    """Open a finished run.

    Args:
        run: its folder.
        model: its architecture, a module or a callable that makes one, for a run that was started
            with a model as an object; the weights come from the folder.
        data: its splits, for a run that was started with splits as an object.
        trust_code: whether code that the folder names may be imported.

    Raises:
        RunFolderError: when the run is unfinished, its verdict is damaged, or its model or splits
            are neither in the folder nor given, or the splits are others than the run's.
    """
    target = open_run(run, trust_code=trust_code, model=model, data=data)
    return Source(target, target.module(), _verdict(target.folder))


def _verdict(run: Path) -> CompressVerdict:
    verdict = read_verdict(run / VERDICT)
    if not isinstance(verdict, CompressVerdict):
        raise RunFolderError(
            f"{run / VERDICT}: the verdict of an audit; expected that of a run. Name a run folder."
        )
    return verdict
