"""Steps, codes and bounds against onnxruntime: its integers compute what the loop judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.models import channel_groups
from safecompress.proposals import PROPOSALS
from safecompress.protocols import ProposalContext, Rows
from safecompress.sparse import initialize
from safecompress.train import Trainer
from safecompress.transforms import affine, codes, exportable

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper = pytest.importorskip("onnx.helper")


def rows(n: int = 64) -> Rows:
    g = torch.Generator().manual_seed(0)
    return Rows(
        torch.randn(n, 3, 8, 8, generator=g),
        torch.randint(4, (n,), generator=g),
        torch.arange(n),
    )


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 8, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip


def candidate(bits: int) -> tuple[Trainer, Candidate]:
    """Return a candidate of few bits, without half of its channels, trained for some steps."""
    module = net()
    config = TrainConfig(epochs=3, batch_size=16, precision="32-true", memory_format="contiguous")
    made = Trainer(module, rows(), config, seed=0, engine=EngineConfig(accelerator="cpu"))
    groups = channel_groups(module, rows(4).inputs)
    topology = initialize(
        module, density=0.2, distribution="uniform", method="magnitude-layer", seed=0
    )
    proposal = PROPOSALS.build(
        {"quantize": {"bits": bits, "mask": {"channels": {"share": 0.5, "mask": "set"}}}},
        where="test",
    )
    child = proposal(made.start(topology), ProposalContext(None, 0.0, 0, groups))
    return made, made.train(child, 8)


def graph(module: nn.Sequential, numbers: Any) -> bytes:
    """Return a QDQ graph of the layers, written node by node from what is exported."""
    nodes: list[Any] = []
    held: list[Any] = []
    last = "inputs"

    def constant(name: str, array: np.ndarray[Any, Any]) -> str:
        held.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(kind: str, inputs: list[str], **options: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **options))
        return f"t{len(nodes) - 1}"

    for name, layer in module.named_children():
        if isinstance(layer, nn.ReLU):
            last = node("Relu", [last])
        elif isinstance(layer, nn.Flatten):
            last = node("Flatten", [last])
        else:
            step, zero = affine(numbers.ranges[name])
            pair = [
                constant(f"{name}.step", step.numpy()),
                constant(f"{name}.zero", zero.numpy().astype(np.uint8)),
            ]
            read = node("DequantizeLinear", [node("QuantizeLinear", [last, *pair]), *pair])
            key = f"{name}.weight"
            integers = codes(layer.weight, numbers.bits).numpy()
            scales = numbers.scales[key].numpy()
            weight = node(
                "DequantizeLinear",
                [constant(key, integers), constant(f"{key}.step", scales),
                 constant(f"{key}.zero", np.zeros(len(scales), np.int8))],
                axis=0,
            )  # fmt: skip
            bias = constant(f"{name}.bias", layer.bias.detach().numpy())
            if isinstance(layer, nn.Conv2d):
                pads = [layer.padding[0]] * 4
                last = node("Conv", [read, weight, bias], pads=pads, strides=layer.stride)
            else:
                last = node("Gemm", [read, weight, bias], transB=1)
    value = helper.make_tensor_value_info
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "quantized",
            [value("inputs", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
            [value(last, onnx.TensorProto.FLOAT, ["n", 4])],
            held,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("bits", [8, 4])
def test_onnxruntime_computes_what_was_judged(bits: int, optimized: bool) -> None:
    made, child = candidate(bits)
    said = made.outputs(child, rows()).logits
    ready = exportable(made._module, child.topology, child.transforms)
    assert ready.numbers is not None
    assert ready.module[0].out_channels == 6
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph(ready.module, ready.numbers), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"inputs": rows().inputs.numpy()})
    largest = float(said.abs().max())
    if optimized:
        # Fused kernels round between layers once more or less; a code may differ by one.
        assert float(np.abs(found - said.numpy()).max()) < 0.02 * largest
    else:
        np.testing.assert_allclose(found, said.numpy(), rtol=1e-4, atol=1e-4 * largest)
    assert (found.argmax(1) == said.argmax(1).numpy()).mean() > 0.95
