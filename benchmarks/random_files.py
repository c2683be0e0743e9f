"""Do files of random small networks answer as PyTorch does, as far as their rounding allows?

A cell is some networks by their seeds, each written in every format of a family: ONNX and
safetensors, or those of another runtime. It is made once, so an interrupted run goes on where it
stopped:

    OMP_NUM_THREADS=1 SAFECOMPRESS_CALIBRATE=1 python -m benchmarks.random_files [--last 2000]
        [--family seeds|openvino|litert|executorch]

Networks are those of the law in `tests/laws/test_file_laws.py`, and so are bounds. A network whose
weights are rounded by the scales of a format tells what a file computes; fp32, half precision and
files whose layers compute in fp32 must answer so within 1e-4 of the largest answer, and files that
round layers' inputs within what half a step of each of these numbers can add up to. Each tensor of
a graph of integers must be what fp32 makes of the same inputs, within the rounding of its own
weight, bias and input. A cell holds the largest share of each bound that was used, and counts
planted faults and those that stayed within the bounds.

torch.onnx collects the functions that it has for operators at every export, torch.export the
operators that are made of others, and ExecuTorch patterns of batch normalization, which no network
here has. That takes most of the time, so it is done once here, or not at all.
"""

from __future__ import annotations

import argparse
import gc
import logging
import tempfile
import time
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tests.laws import test_file_laws as law
from torch._export import utils as _export_utils
from torch.onnx._internal.exporter import _registration

from benchmarks.cells import Cells
from safecompress.export.graph import OPSET

CELLS = Cells.of("random_files")
SIZE = 20
"""Networks in a cell."""
RARELY = (200_000, 50, 50)
"""How many objects are made before Python looks for cycles, by their age; exporters make millions,
and looking took a fifth of the time."""
PLANTED = 4
"""Networks of a cell in whose graphs faults are planted."""


def collect_once_() -> None:
    """Let torch.onnx and torch.export collect what does not change once in this process."""
    plain = _registration.ONNXRegistry.from_torchlib
    made = plain(OPSET)

    def from_torchlib(_: Any, opset_version: int = OPSET) -> Any:
        return made if opset_version == OPSET else plain(opset_version)

    _registration.ONNXRegistry.from_torchlib = classmethod(from_torchlib)  # type: ignore
    collect = cache(_export_utils._collect_all_valid_cia_ops_for_namespace)
    _export_utils._collect_all_valid_cia_ops_for_namespace = lambda place: set(collect(place))
    if find_spec("executorch") is not None:
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer_utils

        searches = xnnpack_quantizer_utils.OP_TO_ANNOTATOR
        searches |= {name: lambda *_: [] for name in searches if "_bn" in name}


def measured(first: int, folder: Path, family: str) -> dict[str, Any]:
    """Return a cell: how many files were written, refused rightly, and wrong.

    Args:
        first: seed of the first network.
        folder: for files.
        family: kind of formats; faults are planted in graphs of ONNX alone.
    """
    started = time.perf_counter()
    failures: list[str] = []
    found: list[dict[str, float | None]] = []
    planted, hidden = 0, []
    for seed in range(first, first + SIZE):
        used, wrong = law.shares(seed, folder / "file", family)
        found.append(used)
        failures += wrong
    for seed in range(first, first + PLANTED if family == "seeds" else first):
        net, rows, held = law.drawn(seed)
        made, unseen = law.hidden_faults(held, rows)
        planted += len(made)
        hidden += [f"seed {seed}, {net.title}: {name}" for name in unseen]
    names = dict.fromkeys(name for used in found for name in used)
    largest = {name: max(u.get(name) or 0.0 for u in found) for name in names}
    return {
        "first": first,
        "networks": SIZE,
        "files": SIZE * len(law.MADE[family]),
        "refused": sum(used is None for each in found for used in each.values()),
        "failures": failures,
        "largest_share_of_bound": largest,
        "planted": planted,
        "hidden": hidden,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Make the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=2000)
    parser.add_argument("--family", choices=tuple(law.FAMILIES), default="seeds")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    collect_once_()
    gc.set_threshold(*RARELY)
    with tempfile.TemporaryDirectory() as folder:
        for first in range(chosen.first, chosen.last, SIZE):
            key = f"{chosen.family}-{first:05d}"
            if key in CELLS and "hidden" in CELLS.read(key):
                continue
            cell = measured(first, Path(folder), chosen.family)
            CELLS.write(key, cell)
            print(key, cell["files"], *cell["failures"], *cell["hidden"], flush=True)


if __name__ == "__main__":
    main()
