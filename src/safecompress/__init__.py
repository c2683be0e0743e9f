"""SafeCompress: test-driven model compression.

The attack is the test, written first; the compressor proposes candidates, the tests judge them,
the best one lives on, and an honest verdict ends the run.
"""

import os

# Read once, when torch loads OpenMP. Threads that spin while they wait make small networks many
# times slower as soon as anything else runs on the machine. Whoever sets it keeps their choice.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from safecompress.compress import Run, compress
from safecompress.config import CompressConfig, load_config
from safecompress.data import Splits, splits_from_arrays, splits_from_dataset
from safecompress.errors import SafeCompressError, UsageError
from safecompress.load import load
from safecompress.verdict import Verdict

__all__ = [
    "CompressConfig",
    "Run",
    "SafeCompressError",
    "Splits",
    "UsageError",
    "Verdict",
    "compress",
    "load",
    "load_config",
    "splits_from_arrays",
    "splits_from_dataset",
]
