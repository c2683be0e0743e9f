"""Files of random small networks answer as PyTorch does, as far as their rounding allows.

A network whose weights are rounded by a format's scales tells what its files must answer: exactly,
where the layers compute in fp32, and within half a step of every number that is rounded between
layers otherwise. Deep networks add up many half steps, so each tensor of a graph of integers is
compared by itself as well, with what fp32 makes of the same inputs. That shows every planted fault.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.export import FORMATS, ExportContext
from safecompress.export.compact_format import CompactFormat
from safecompress.export.executorch_format import ExecutorchFormat
from safecompress.export.litert_format import LitertFormat
from safecompress.export.onnx_format import OnnxFormat
from safecompress.export.onnx_graphs import OnnxGraphs
from safecompress.export.openvino_format import OpenvinoFormat
from safecompress.export.written import write_files
from safecompress.topology import Topology
from tests.export_models import require_extras, session, written
from tests.local_bounds import largest_share
from tests.planted_files import FAULTS
from tests.random_nets import Draw
from tests.rounding_bounds import Net, Rounding
from tests.support import count

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FORMS = {name: part.factory() for name, part in FORMATS.parts.items()}
FAMILIES = {
    "seeds": OnnxFormat | CompactFormat,
    "openvino": OpenvinoFormat,
    "litert": LitertFormat,
    "executorch": ExecutorchFormat,
}
"""Kinds of formats by the first word of the names of benchmarks' cells."""
MADE = {
    family: [name for name, form in FORMS.items() if isinstance(form, kind)]
    for family, kind in FAMILIES.items()
}
LARGEST = {"int8": 127, "int4": 7}
GRAPHS = {"int8": 127, "int4": 7, "dynamic": 127}
"""Graphs of integers, and the largest whole number of a weight in each."""


def rounding(form: Any) -> Rounding:
    """Return what a format rounds."""
    if isinstance(form, OpenvinoFormat):
        return rounding(form.source)
    largest = LARGEST.get(form.values, 0)
    if isinstance(form, LitertFormat):
        # Transposed convolutions become convolutions, and depthwise ones have no kernel of int4.
        between = "row" if largest else "nothing"
        return Rounding(largest, between=between, transposed="output", depthwise=127)
    if isinstance(form, ExecutorchFormat):
        between = "members" if largest else "nothing"
        return Rounding(largest, between=between, tables=False, last=False)
    graph = isinstance(form, OnnxFormat)
    between = "nothing" if not (graph and largest) else "call" if form.dynamic else "members"
    bits = 10 if form.values == "fp16" else 0
    return Rounding(largest, bits, between, transposed="second" if graph else "first")


@lru_cache(maxsize=20)
def drawn(seed: int) -> tuple[Net, Tensor, ExportContext]:
    """Return a network, its rows and what is exported; the graphs of the latest are kept."""
    net, rows = Draw(seed).net()
    return net, rows, ExportContext.of(net, Topology.dense(net), rows)


def answers(held: ExportContext, name: str, data: bytes, rows: Tensor, path: Path) -> Tensor:
    """Return what a file computes, without sums that are cut off."""
    form = FORMS[name]
    if isinstance(form, OnnxFormat):
        (said,) = session(data, precise=True).run(None, {"inputs": rows.numpy()})
        return torch.from_numpy(said)
    write_files(form, path, data)
    if form.computes:
        # The runtime in this process, without the guard of a process of its own.
        return torch.from_numpy(form.session(path, threads=1).ask({"inputs": rows.numpy()}))
    with torch.no_grad():
        return torch.as_tensor(form.open(path, held)(rows)).float()


def share_of_bound(net: Net, rows: Tensor, name: str, said: Tensor) -> float:
    """Return how much of what its rounding allows a file's answers use; more than 1 is wrong."""
    traced = net.trace(rows, rounding(FORMS[name]))
    largest = traced.exact.abs().amax().clamp(min=1e-3)
    return float(((said - traced.near).abs() / (traced.error * 1.01 + 1e-4 * largest)).max())


def refused_rightly(net: Net, name: str, error: ModelError) -> bool:
    """Dynamic int8 is for linear layers, and says so of a net without one."""
    linear = any(isinstance(module, nn.Linear) for module in net.modules())
    return "dynamic" in name and not linear and "no linear layer" in str(error)


def tensor_shares(held: ExportContext, rows: Tensor) -> dict[str, float]:
    """Return by graph of integers the largest share of its own bound that a tensor uses."""
    graphs = held.once(OnnxGraphs)
    found = {}
    for kind, largest in GRAPHS.items():
        if kind != "dynamic" or any(isinstance(m, nn.Linear) for m in held.module.modules()):
            used = largest_share(graphs.fp32, getattr(graphs, kind), rows.numpy(), largest)
            found[f"each tensor, {kind}"] = used.share
    return found


def shares(
    seed: int, path: Path, family: str = "seeds"
) -> tuple[dict[str, float | None], list[str]]:
    """Return by format the share of the bound that a network's files use, and what is wrong.

    Args:
        seed: of the network.
        path: for a file.
        family: kind of formats.

    Returns:
        The shares, None where a format rightly refuses the network; and the faults.
    """
    net, rows, held = drawn(seed)
    found: dict[str, float | None] = {}
    failures = []
    for name in MADE[family]:
        try:
            said = answers(held, name, written(held, name), rows, path)
            found[name] = share_of_bound(net, rows, name, said)
        except ModelError as error:
            found[name] = None
            if not refused_rightly(net, name, error):
                failures.append(f"{name}: {error}")
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}"[:300])
    if family == "seeds":
        found |= tensor_shares(held, rows)
    wrong = {name: used for name, used in found.items() if used is not None and not used <= 1}
    failures += [f"{name}: {used:.2f} times the bound" for name, used in wrong.items()]
    return found, [f"seed {seed}, {net.title}, {said}" for said in failures]


def test_files_answer_as_pytorch_within_their_rounding(tmp_path: Path) -> None:
    failures = []
    for seed in range(count(6, 2000)):
        failures += shares(seed, tmp_path / "m")[1]
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "seeds"])
def test_files_of_other_runtimes_answer_within_their_rounding(family: str, tmp_path: Path) -> None:
    for name in MADE[family]:
        require_extras(FORMS[name])
    failures = []
    for seed in range(count(4, 200)):
        failures += shares(seed, tmp_path / "m", family)[1]
    assert not failures, "\n".join(failures)


def hidden_faults(held: ExportContext, rows: Tensor) -> tuple[list[str], list[str]]:
    """Plant every fault in a network's graph, and return those planted and those not seen."""
    graphs = held.once(OnnxGraphs)
    planted, hidden = [], []
    for name, plant in FAULTS.items():
        graph = deepcopy(graphs.int8)
        if plant(graph.graph):
            planted.append(name)
            if largest_share(graphs.fp32, graph, rows.numpy(), LARGEST["int8"]).share <= 1:
                hidden.append(name)
    return planted, hidden


def test_planted_faults_are_beyond_the_bound() -> None:
    """Networks of tables, square and other weights; each holds some of the faults."""
    seen = set()
    for seed in range(4, 4 + count(2, 100)):
        net, rows, held = drawn(seed)
        planted, hidden = hidden_faults(held, rows)
        assert not hidden, f"seed {seed}, {net.title}"
        seen |= set(planted)
    assert seen == set(FAULTS)
