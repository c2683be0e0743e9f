"""SafeCompress: test-driven model compression.

Attacks are the tests, and they are written first. The compressor proposes candidates, the attacks
test each of them, the best candidates are trained on, and a verdict on untouched rows ends the run.

A name of the package is imported when it is first asked for, because most of them import torch, and
a command that only prints its help should not wait for it.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from safecompress import _threads  # noqa: F401 - before anything imports torch
from safecompress_command import __version__

if TYPE_CHECKING:
    from safecompress.audit import Audit, Limits, audit
    from safecompress.compare import compare, compare_runs
    from safecompress.compress import Run, compress
    from safecompress.config import CompressConfig, load_config
    from safecompress.data import Splits, splits_from_arrays, splits_from_dataset
    from safecompress.data.predictions import record_predictions
    from safecompress.errors import SafeCompressError, UsageError
    from safecompress.export import export, export_module
    from safecompress.jointly import JointAudit, audit_jointly
    from safecompress.leak_scorer import leak_scorer
    from safecompress.loops.handle import SparseTraining
    from safecompress.release import Release, release
    from safecompress.run.load import load, load_preprocessor
    from safecompress.targets.record import record
    from safecompress.verdicts.verdict import Verdict

_MODULES = {
    "audit": ["Audit", "Limits", "audit"],
    "compare": ["compare", "compare_runs"],
    "compress": ["Run", "compress"],
    "config": ["CompressConfig", "load_config"],
    "data": ["Splits", "splits_from_arrays", "splits_from_dataset"],
    "errors": ["SafeCompressError", "UsageError"],
    "export": ["export", "export_module"],
    "jointly": ["JointAudit", "audit_jointly"],
    "leak_scorer": ["leak_scorer"],
    "loops.handle": ["SparseTraining"],
    "release": ["Release", "release"],
    "run.load": ["load", "load_preprocessor"],
    "data.predictions": ["record_predictions"],
    "targets.record": ["record"],
    "verdicts.verdict": ["Verdict"],
}
"""Names of the package by the module inside it that defines them."""
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Audit",
    "CompressConfig",
    "JointAudit",
    "Limits",
    "Release",
    "Run",
    "SafeCompressError",
    "SparseTraining",
    "Splits",
    "UsageError",
    "Verdict",
    "__version__",
    "audit",
    "audit_jointly",
    "compare",
    "compare_runs",
    "compress",
    "export",
    "export_module",
    "leak_scorer",
    "load",
    "load_config",
    "load_preprocessor",
    "record",
    "record_predictions",
    "release",
    "splits_from_arrays",
    "splits_from_dataset",
]


class _Package(ModuleType):
    """The package, in which a function keeps its name although its module has the same.

    Importing `safecompress.audit` would make the package's attribute `audit` that module.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_HOME})


sys.modules[__name__].__class__ = _Package
