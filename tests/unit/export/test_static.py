"""Static int8: whatever a net is made of, its file answers as it does, with logits in fp32."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from safecompress.export import FORMATS, ExportContext
from safecompress.export.onnx_format import OnnxFormat
from safecompress.topology import Topology
from safecompress.transforms import affine
from tests.export_models import inputs, onnx_graph, session, sparse_model, written
from tests.rounding_bounds import MOST_PAIR, pairs

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FORMS = {name: part.factory() for name, part in FORMATS.parts.items()}
STATIC = [n for n, form in FORMS.items() if isinstance(form, OnnxFormat) and form.rounds_inputs]
MOST = {"int8": 0.06, "int4": 0.35}
"""Errors as a share of the largest logit."""


class Again(nn.Module):
    """Calls one layer several times."""

    def __init__(self, *, bias: bool, times: int = 3) -> None:
        super().__init__()
        self.a, self.b, self.times = nn.Linear(12, 12, bias=bias), nn.Linear(12, 3), times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.a(x).relu()
        return self.b(x)


class Siamese(nn.Module):
    """Compares the two halves of a row with one encoder."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.e, self.h = nn.Linear(6, 16, bias=bias), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.h((self.e(x[:, :6]).relu() - self.e(x[:, 6:]).relu()).abs())


class Thrice(nn.Module):
    """Calls one convolution three times."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.i, self.c = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, padding=1, bias=bias)
        self.o = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.i(x.view(-1, 1, 3, 4)).relu()
        for _ in range(3):
            x = self.c(x).relu()
        return self.o(x.mean((2, 3)))


class Turned(nn.Module):
    """Uses one weight as it is and transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(F.linear(self.a(x).relu(), self.a.weight.t()))


SHARED: dict[str, Callable[[], nn.Module]] = {
    f"{kind.__name__}, bias {bias}": lambda k=kind, b=bias: k(bias=b)
    for kind in (Again, Siamese, Thrice)
    for bias in (True, False)
} | {"turned": Turned}


def context_of(module: nn.Module, x: Tensor) -> ExportContext:
    return ExportContext.of(module.eval(), Topology.dense(module), x)


def answers(held: ExportContext, form: str, *, precise: bool = True) -> Tensor:
    x = held.members
    assert isinstance(x, Tensor)
    (said,) = session(written(held, form), precise=precise).run(None, {"inputs": x.numpy()})
    return torch.from_numpy(said)


def said(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module(x)


@pytest.mark.parametrize("name", list(SHARED))
def test_a_module_may_be_called_more_than_once(name: str) -> None:
    torch.manual_seed(0)
    held = context_of(SHARED[name](), torch.randn(200, 12))
    expected = said(held.module, held.members)
    for form in [*STATIC, "onnx-sparse-int8-dynamic"]:
        for precise in (True, False):
            found = answers(held, form, precise=precise)
            error = (found - expected).abs().max() / expected.abs().max()
            assert float(error) < MOST[FORMS[form].values], form


def test_a_shared_weight_is_stored_once() -> None:
    graph = onnx_graph(context_of(Again(bias=True), torch.randn(50, 12)), "onnx-int8").graph
    arrays = [onnx.numpy_helper.to_array(i) for i in graph.initializer]
    assert sum(a.dtype == np.int8 and a.shape == (12, 12) for a in arrays) == 1


class Head(nn.Module):
    """A linear layer of two classes over some features, and an ending."""

    def __init__(self, ending: Callable[[Tensor], Tensor], *, features: int = 12) -> None:
        super().__init__()
        self.a, self.b, self.ending = nn.Linear(features, 32), nn.Linear(32, 2), ending

    def forward(self, x: Tensor) -> Tensor:
        return self.ending(self.b(self.a(x).relu()))


class Pointwise(nn.Module):
    """A convolution of one pixel as the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, (3, 4)), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.view(-1, 1, 3, 4)).relu()).flatten(1)


class Last(nn.Module):
    """Answers for the last of three positions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.view(-1, 3, 4)).relu())[:, -1]


ENDINGS: dict[str, Callable[[], nn.Module]] = {
    "scaled": lambda: Head(lambda x: x * 2.5),
    "leaky": lambda: Head(nn.LeakyReLU(0.5)),
    "log softmax": lambda: Head(lambda x: x.log_softmax(dim=1)),
    "shifted": lambda: Head(lambda x: x - 0.01),
    "sum of two": lambda: Head(lambda x: x + x.tanh()),
    "pointwise": Pointwise,
    "last": Last,
}


@pytest.mark.parametrize("name", list(ENDINGS))
def test_logits_are_not_rounded_wherever_the_net_ends(name: str) -> None:
    torch.manual_seed(3)
    module, x = ENDINGS[name](), torch.randn(600, 12)
    distinct = len(said(module, x).unique())
    # Members reach less than other rows do, whose logits must not be cut off there.
    wide = 3 * x[:100]
    data = written(context_of(module, x[:20]), "onnx-int8")
    run = session(data, precise=True)
    found = run.run(None, {"inputs": x.numpy()})[0]
    assert len(np.unique(found)) > 0.6 * distinct
    reached = np.abs(run.run(None, {"inputs": x[:20].numpy()})[0]).max()
    if name != "log softmax":
        assert np.abs(run.run(None, {"inputs": wide.numpy()})[0]).max() > reached


CUTS: dict[str, nn.Module | Callable[[Tensor], Tensor]] = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(),
    "clamp": lambda x: x.clamp(-1, 1),
    "functional": torch.relu,
}


class Cut(nn.Module):
    """Two linear layers and an activation that cuts off what the second makes."""

    def __init__(self, cut: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.cut = Again(bias=True, times=1), cut
        with torch.no_grad():
            self.inner.b.weight.mul_(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.cut(self.inner(x))


@pytest.mark.parametrize("name", list(CUTS))
def test_a_final_activation_survives(name: str) -> None:
    torch.manual_seed(3)
    held = context_of(Cut(CUTS[name]), torch.randn(400, 12))
    inside, expected = (said(m, held.members) for m in (held.module.inner, held.module))
    for form in STATIC:
        found = answers(held, form)
        # Where the last layer is well outside of what the activation keeps, the end is exact.
        off = MOST[FORMS[form].values] * float(inside.abs().max())
        far = (inside - expected).abs() > off
        assert bool(far.any())
        assert torch.equal(found[far], expected[far]), form
        assert float((found - expected).abs().max()) < off


WIDTHS = {"mlp": [128, 128], "three": [64, 64, 64], "one": [1, 1]}


def several(name: str) -> tuple[nn.Module, Tensor]:
    """Return a net with layers of one shape, and rows."""
    if name in WIDTHS:
        pairs = itertools.pairwise([20, *WIDTHS[name], 3])
        return nn.Sequential(*(nn.Linear(a, b) for a, b in pairs)), torch.randn(32, 20)
    if name == "transformer":
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        return nn.Sequential(body, nn.Flatten(), nn.Linear(64, 3)), torch.randn(32, 4, 16)
    return sparse_model(name)[0], inputs(name, 32)


@pytest.mark.parametrize("name", [*WIDTHS, "alexnet", "resnet8", "transformer"])
def test_files_load_without_saturation(name: str) -> None:
    torch.manual_seed(0)
    held = context_of(*several(name))
    expected = said(held.module, held.members)
    for form in (n for n, f in FORMS.items() if isinstance(f, OnnxFormat)):
        found = answers(held, form)
        alike = torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0)
        assert float(alike) > (0.8 if FORMS[form].values == "int4" else 0.99), form


class Normed(nn.Module):
    """Normalization over several axes, and a transposed convolution of groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 8, 3), nn.LayerNorm([8, 6, 6])
        self.up = nn.ConvTranspose2d(8, 6, 3, groups=2)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.up(self.norm(self.a(x)).relu()).relu().mean((2, 3)))


def test_norms_of_several_axes_and_transposed_groups_are_written() -> None:
    torch.manual_seed(0)
    held = context_of(Normed(), torch.randn(100, 1, 8, 8))
    expected = said(held.module, held.members)
    for form in STATIC:
        error = (answers(held, form) - expected).abs().max() / expected.abs().max()
        assert float(error) < MOST[FORMS[form].values], form


def test_the_numbers_are_those_of_the_definition() -> None:
    torch.manual_seed(0)
    module, x = (
        nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3)).eval(),
        torch.randn(40, 20),
    )
    graph = onnx_graph(ExportContext.of(module, Topology.dense(module), x), "onnx-int8").graph
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    hidden = said(module[:2], x)
    for layer, given in ((0, x), (2, hidden)):
        weight = module[layer].weight.detach()
        # The largest weight is the largest integer, unless two neighbors together are too large.
        scale = (weight.abs().amax(dim=1) / 127).maximum(pairs(weight)[:, 0] / MOST_PAIR)
        np.testing.assert_array_equal(arrays[f"{layer}.weight_scale"], scale.numpy())
        whole = (weight / scale[:, None]).round().to(torch.int8)
        np.testing.assert_array_equal(arrays[f"{layer}.weight_quantized"], whole.numpy())
        step, _ = affine(torch.stack([given.min(), given.max()]))
        steps = [a.item() for n, a in arrays.items() if n.endswith("_scale") and a.ndim == 0]
        assert min(abs(s / step.item() - 1) for s in steps) < 1e-5
        bias = arrays[f"{layer}.bias_quantized"] * arrays[f"{layer}.bias_scale"]
        np.testing.assert_allclose(
            bias, module[layer].bias.detach(), atol=float(step * scale.max()) / 2
        )


def test_stock_onnxruntime_stays_in_integers(tmp_path: Path) -> None:
    import onnxruntime

    module, _ = sparse_model("resnet8")
    data = written(context_of(module, inputs("resnet8")), "onnx-sparse-int8")
    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "made.onnx")
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    ran = Counter(n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node)
    layers = Counter(type(m).__name__ for m in module.modules())
    assert ran["QLinearConv"] == layers["Conv2d"]
    assert ran["QLinearAdd"] >= 3
    assert ran["QGemm"] == layers["Linear"] == 1
    assert not {"Conv", "Gemm", "Add", "ScatterElements", "Slice"} & set(ran)
