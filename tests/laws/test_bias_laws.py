"""A bias is rounded no more than the numbers beside it, even where an input hardly varies."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from safecompress.export import ExportContext
from safecompress.topology import Topology
from tests.export_models import session, written
from tests.rounding_bounds import Rounding
from tests.support import count

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FORMS = {"onnx-int8": 127, "onnx-sparse-int8": 127, "onnx-sparse-int4": 7}


def still(kind: str, seed: int) -> tuple[nn.Sequential, Tensor]:
    """Return a net whose middle layer has an input that does not vary, and rows."""
    torch.manual_seed(seed)
    first, middle = nn.Linear(6, 8), nn.Linear(8, 7)
    level = float(torch.empty(()).uniform_(0.5, 50))
    with torch.no_grad():
        if kind == "zero":
            first.bias.fill_(-1000.0)
        else:
            first.weight.mul_(1e-7 if kind == "nearly" else 0.0)
            first.bias.fill_(level)
            # What the input adds up to cancels, so that the bias is what the layer says.
            middle.weight[:, ::2] = -middle.weight[:, 1::2]
    return nn.Sequential(first, nn.ReLU(), middle, nn.Linear(7, 3)).eval(), torch.randn(24, 6)


def rounded(net: nn.Module, largest: int) -> nn.Module:
    """Return a net with the weights of a file."""
    by, copied = Rounding(largest, between="members"), deepcopy(net)
    with torch.no_grad():
        for layer in copied:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(by.weight(layer)[0])
    return copied


@pytest.mark.parametrize("kind", ["zero", "constant", "nearly"])
def test_a_bias_beside_an_input_that_hardly_varies_is_exact(kind: str) -> None:
    for seed in range(count(1, 100)):
        net, rows = still(kind, seed)
        held = ExportContext.of(net, Topology.dense(net), rows)
        for form, largest in FORMS.items():
            (said,) = session(written(held, form), precise=True).run(None, {"inputs": rows.numpy()})
            with torch.no_grad():
                middle = rounded(net, largest)[:3](rows)
                last = Rounding(largest, between="members").weight(net[3])[0]
                # The last layer rounds its own input, by half a step of its range at most.
                wide = float(middle.amax().clamp(min=0) - middle.amin().clamp(max=0))
                free = wide / 255 / 2 * last.abs().sum(1) * 1.01 + 1e-5 * middle.abs().max()
                expected = nn.functional.linear(middle, last, net[3].bias)
            # So is its bias, by half of that step times the weight's scale.
            free = free + wide / 255 / 2 * last.abs().amax(1) / largest
            assert bool(((torch.from_numpy(said) - expected).abs() <= free).all()), (form, seed)
