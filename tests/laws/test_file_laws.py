"""Files of random small networks answer as PyTorch does, as far as their rounding allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safecompress.errors import ModelError
from safecompress.export import FORMATS, ExportContext
from safecompress.export.compact_format import CompactFormat
from safecompress.export.onnx_format import OnnxFormat
from safecompress.topology import Topology
from tests.export_models import session, written
from tests.random_nets import Draw, Net, Rounding
from tests.support import count

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FORMS = {name: part.factory() for name, part in FORMATS.parts.items()}
MADE = [n for n, form in FORMS.items() if isinstance(form, OnnxFormat | CompactFormat)]
LARGEST = {"int8": 127, "int4": 7}


def rounding(form: Any) -> Rounding:
    if form.values == "fp16":
        return Rounding(bits=10)
    integers = form.values in LARGEST
    return Rounding(
        largest=LARGEST.get(form.values, 0),
        bits=24,
        inputs=integers and isinstance(form, OnnxFormat),
    )


def wrong(net: Net, rows: torch.Tensor, held: ExportContext, name: str, path: Path) -> str:
    """Return what is wrong with a file of a format; empty where nothing is."""
    form = FORMS[name]
    data = written(held, name)
    with torch.no_grad():
        exact = net(rows)
    answers = []
    if isinstance(form, OnnxFormat):
        for precise in (True, False):
            (said,) = session(data, precise=precise).run(None, {"inputs": rows.numpy()})
            answers.append(torch.from_numpy(said))
    else:
        path.write_bytes(data)
        with torch.no_grad():
            answers.append(torch.as_tensor(form.open(path, held)(rows)).float())
    largest = exact.abs().amax().clamp(min=1e-3)
    allowed = net.bound(rows, rounding(form)) * 1.01 + 1e-4 * largest
    off = (answers[0] - exact).abs()
    if not bool((off <= allowed).all()):
        worst = float((off / allowed).max())
        return f"{name}: {float(off.max()):.3g} off, {worst:.2f} times the bound"
    return ""


def refused_rightly(net: Net, name: str, error: ModelError) -> bool:
    """Dynamic int8 is for linear layers, and says so of a net without one."""
    linear = any(isinstance(module, nn.Linear) for module in net.modules())
    return "dynamic" in name and not linear and "no linear layer" in str(error)


def test_files_answer_as_pytorch_within_their_rounding(tmp_path: Path) -> None:
    failures = []
    for seed in range(count(6, 2000)):
        net, rows = Draw(seed).net()
        held = ExportContext.of(net, Topology.dense(net), rows)
        for name in MADE:
            try:
                said = wrong(net, rows, held, name, tmp_path / "m")
            except ModelError as error:
                no_linear = FORMS[name].dynamic and not any(
                    isinstance(m, nn.Linear) for m in net.modules()
                )
                said = "" if no_linear and "no linear layer" in str(error) else f"{name}: {error}"
            except Exception as error:
                said = f"{name}: {type(error).__name__}: {error}"[:300]
            if said:
                failures.append(f"seed {seed}, {net.title}: {said}")
    assert not failures, "\n".join(failures)
