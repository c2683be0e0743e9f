"""Do files of random small networks answer as PyTorch does, as far as their rounding allows?

A cell is some networks by their seeds, each written in every ONNX and safetensors format; it is
made once, so an interrupted run goes on where it stopped:

    OMP_NUM_THREADS=1 SAFECOMPRESS_CALIBRATE=1 python -m benchmarks.random_files [--last 2000]

Networks and bounds are those of the law in `tests/laws/test_file_laws.py`: fp32 within 1e-4 of the
largest answer, rounded files within what the steps of their numbers allow. The bound holds for
every rounding to the nearest number, so it is wide: a fault that moves answers by less is not seen.

torch.onnx collects the functions that it has for operators at every export, which takes most of the
time. They are the same each time, so they are collected once here.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from tests.laws import test_file_laws as law
from tests.random_nets import Draw
from torch.onnx._internal.exporter import _registration

from benchmarks.cells import Cells
from safecompress.errors import ModelError
from safecompress.export import ExportContext
from safecompress.export.graph import OPSET
from safecompress.topology import Topology

CELLS = Cells.of("random_files")
SIZE = 20
"""Networks in a cell."""


def collect_once_() -> None:
    """Let torch.onnx collect its functions once in this process."""
    plain = _registration.ONNXRegistry.from_torchlib
    made = plain(OPSET)

    def from_torchlib(_: Any, opset_version: int = OPSET) -> Any:
        return made if opset_version == OPSET else plain(opset_version)

    _registration.ONNXRegistry.from_torchlib = classmethod(from_torchlib)  # type: ignore


def measured(first: int, folder: Path) -> dict[str, Any]:
    """Return a cell: how many files were written, refused rightly, and wrong.

    Args:
        first: seed of the first network.
        folder: for files.
    """
    started, failures, files, refused = time.perf_counter(), [], 0, 0
    for seed in range(first, first + SIZE):
        net, rows = Draw(seed).net()
        held = ExportContext.of(net, Topology.dense(net), rows)
        for name in law.MADE:
            files += 1
            try:
                said = law.wrong(net, rows, held, name, folder / "file")
            except ModelError as error:
                rightly = law.refused_rightly(net, name, error)
                refused += rightly
                said = "" if rightly else f"{name}: {error}"
            except Exception as error:
                said = f"{name}: {type(error).__name__}: {error}"[:300]
            if said:
                failures.append(f"seed {seed}, {net.title}: {said}")
    return {
        "first": first,
        "networks": SIZE,
        "files": files,
        "refused": refused,
        "failures": failures,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Make the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=2000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    collect_once_()
    with tempfile.TemporaryDirectory() as folder:
        for first in range(chosen.first, chosen.last, SIZE):
            key = f"seeds-{first:05d}"
            if key in CELLS:
                continue
            cell = measured(first, Path(folder))
            CELLS.write(key, cell)
            print(key, cell["files"], *cell["failures"], flush=True)


if __name__ == "__main__":
    main()
