"""Files whose layers read a mean, a sum or an extremum over an axis answer as the model.

Runtimes compute a reduction together with the rounding that follows it; where one does so wrongly,
answers are off by as much as they vary.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safecompress.export import FORMATS, ExportContext
from safecompress.export.written import write_files
from safecompress.topology import Topology
from tests.export_models import require_extras

WORDS, LENGTH, WIDTH, CLASSES = 40, 6, 8, 4
REDUCTIONS: dict[str, Any] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "amax": torch.amax,
    "amin": torch.amin,
}


class Reduced(nn.Module):
    """A table of words, a layer, a reduction over words or features, and a layer of logits."""

    def __init__(self, kind: str, dim: int, *, keepdim: bool) -> None:
        super().__init__()
        self.kind, self.dim, self.keepdim = kind, dim, keepdim
        self.table, self.inner = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH if dim == 1 else LENGTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.inner(self.table(ids))
        return self.out(REDUCTIONS[self.kind](x, self.dim, self.keepdim).flatten(1))


@pytest.mark.parametrize("name", ["onnx-int8", "openvino-int8", "litert-int8", "executorch-int8"])
def test_reductions_before_a_rounded_layer_are_right(name: str, tmp_path: Path) -> None:
    form = FORMATS.build(name, where="test")
    require_extras(form)
    kinds = list(product(REDUCTIONS, (1, 2), (False, True)))
    # Lowering takes seconds, so that only the runtime that was wrong gets all of them.
    quick = name.startswith("openvino")
    for kind, dim, keepdim in kinds if quick else kinds[::4]:
        torch.manual_seed(7)
        model = Reduced(kind, dim, keepdim=keepdim).eval()
        rows = torch.randint(WORDS, (32, LENGTH))
        context = ExportContext.of(model, Topology.dense(model), rows)
        path = tmp_path / f"m{form.suffixes[0]}"
        write_files(form, path, form.write(context, {}))
        answered = form.session(path, threads=1).ask({"inputs": rows.numpy()})
        said = torch.from_numpy(np.asarray(answered).reshape(len(rows), CLASSES))
        with torch.no_grad():
            expected = model(rows)
        off = float((said - expected).abs().max() / (expected.max() - expected.min()))
        assert off < 0.05, (kind, dim, keepdim, off)
