"""`surroundings`, `provenance`: code, versions and machine of a run, and hashes of its inputs."""

from __future__ import annotations

import hashlib
import inspect
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch

from safecompress.config import CompressConfig, dump_yaml, training_code
from safecompress.data import Splits
from safecompress.errors import ConfigError
from safecompress.files import sha256
from safecompress.imports import current_folder_importable, import_callable
from safecompress.run.checkout import Revision, revision
from safecompress_command import __version__

PACKAGE = Path(__file__).parents[1]


def surroundings() -> dict[str, Any]:
    """Return code, versions, machine and time, in the form in which every document records them.

    It never fails: a value that cannot be determined is None. It contains no path and no name of a
    user or a machine.

    Returns:
        JSON: `safecompress`, `python`, `torch`, `numpy` and `scipy` are versions; `commit` and
        `clean_tree` are those of the code that runs (`Revision`); `created` is the time in UTC;
        `platform` and `cpu` name the kind of machine, `instructions` the vector instructions that
        torch uses on it; `threads` is how many threads torch computes with; `backend` is the
        device type that `engine.accelerator: auto` takes (`cpu`, `cuda`, `mps`).
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
        config: the run's configuration.
        splits: the rows that the run trains on and is judged on.
    """
    return (
        surroundings()
        | {
            "seed": config.seed,
            "config_sha256": hashlib.sha256(dump_yaml(config, values=True).encode()).hexdigest(),
            "splits": splits.digests(),
            "data": asdict(splits.report),
            "seconds": {},
        }
        | _training_code(config)
    )


def _training_code(config: CompressConfig) -> dict[str, Any]:
    """Return the SHA-256 of the file of every loss and augmentation of the user's own.

    The entry is absent where a configuration names none.
    """
    found: dict[str, str | None] = {}
    for path in training_code(config):
        with current_folder_importable():
            function = import_callable(path, where="train", error=ConfigError)
        file = None
        with suppress(TypeError):
            file = inspect.getsourcefile(inspect.unwrap(function))
        found[path] = None if file is None else sha256(Path(file))
    return {"training_code": found} if found else {}


@cache
def _running_code() -> Revision:
    # Cached, because this process's modules were imported from the source as it was at the start.
    return revision(PACKAGE)


def _backend() -> str:
    device = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if device is None else device.type


@cache
def _cpu() -> str | None:
    """Return the name of the processor's model; None where the system does not state it."""
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
        completed = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, capture_output=True, text=True, timeout=1.0, check=False
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip() or None
