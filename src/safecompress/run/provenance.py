"""`surroundings`, `provenance`: code, versions and machine of a run, and hashes of its inputs."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch

from safecompress.config import CompressConfig, dump_yaml
from safecompress.data import Splits
from safecompress.run.checkout import Revision, revision
from safecompress_command import __version__

PACKAGE = Path(__file__).parents[1]


def surroundings() -> dict[str, Any]:
    """Return code, versions, machine and time, the same for everything that records them.

    It never fails: what cannot be found out is None. No path and no name of a user or of a machine
    is in it.

    Returns:
        JSON: `safecompress`, `python`, `torch`, `numpy` and `scipy` are versions; `commit` and
        `clean_tree` are those of the code that runs (`Revision`); `created` is the time in UTC;
        `platform` and `cpu` say what kind of machine this is, `instructions` which vector
        instructions torch uses on it; `threads` is how many threads torch computes with;
        `backend` is what torch finds to compute on (`cpu`, `cuda`, `mps`), which is what
        `engine.accelerator: auto` takes.
    """
    code = _running_code()
    return {
        "safecompress": __version__,
        "commit": code.commit,
        "clean_tree": code.clean,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "platform": platform.platform(),
        "cpu": _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "backend": _backend(),
    }


def provenance(config: CompressConfig, splits: Splits) -> dict[str, Any]:
    """Return the JSON document of `provenance.json`, before anything is trained.

    Args:
        config: of the run.
        splits: the rows it trains and is judged on.
    """
    return surroundings() | {
        "seed": config.seed,
        "config_sha256": hashlib.sha256(dump_yaml(config).encode()).hexdigest(),
        "splits": splits.digests(),
        "data": asdict(splits.report),
        "seconds": {},
    }


@cache
def _running_code() -> Revision:
    # Asked once: the modules of this process were read from the source as it was at its start.
    return revision(PACKAGE)


def _backend() -> str:
    found = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if found is None else found.type


@cache
def _cpu() -> str | None:
    """Return the processor's model as it names itself; None where it does not."""
    return _cpu_of_linux(Path("/proc/cpuinfo")) or _cpu_of_mac() or platform.processor() or None


def _cpu_of_linux(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == "model name"), None)


def _cpu_of_mac() -> str | None:
    if platform.system() != "Darwin":
        return None
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, capture_output=True, text=True, timeout=1.0, check=False
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
