"""SafeCompress: test-driven model compression.

Attacks are the tests, and they are written first. The compressor proposes candidates, the attacks
test each of them, the best candidates are trained on, and a verdict on untouched rows ends the run.
"""

from safecompress import _threads  # noqa: F401 - before anything imports torch
from safecompress.audit import Audit, Limits, audit
from safecompress.compare import compare, compare_runs
from safecompress.compress import Run, compress
from safecompress.config import CompressConfig, load_config
from safecompress.data import Splits, splits_from_arrays, splits_from_dataset
from safecompress.errors import SafeCompressError, UsageError
from safecompress.export import export, export_module
from safecompress.run.load import load, load_preprocessor
from safecompress.targets.record import record
from safecompress.verdicts.verdict import Verdict
from safecompress_command import __version__

__all__ = [
    "Audit",
    "CompressConfig",
    "Limits",
    "Run",
    "SafeCompressError",
    "Splits",
    "UsageError",
    "Verdict",
    "__version__",
    "audit",
    "compare",
    "compare_runs",
    "compress",
    "export",
    "export_module",
    "load",
    "load_config",
    "load_preprocessor",
    "record",
    "splits_from_arrays",
    "splits_from_dataset",
]
