"""What a run was made with: versions, machine, hashes."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch

from safecompress.config import CompressConfig, dump_yaml
from safecompress.data import Splits
from safecompress_command import __version__


def surroundings() -> dict[str, Any]:
    """Return versions, machine and time, as `provenance.json` begins with them."""
    return {
        "safecompress": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
    }


def provenance(config: CompressConfig, splits: Splits) -> dict[str, Any]:
    """Return the JSON document of `provenance.json`, before anything is trained."""
    return surroundings() | {
        "seed": config.seed,
        "config_sha256": hashlib.sha256(dump_yaml(config).encode()).hexdigest(),
        "splits": splits.digests(),
        "data": asdict(splits.report),
        "seconds": {},
    }
