"""Tensors that decode themselves are the same numbers in every runtime that reads the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from safecompress.export.self_decoding import self_decoding
from tests.export_models import session
from tests.support import count

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
KINDS = {"fp32": np.float32, "fp16": np.float32, "int8": np.int8, "int4": np.int8}


def drawn(values: str, seed: int) -> NDArray[Any]:
    """Return a weight with zeros that the number format holds exactly."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(40, 120, 2))
    if KINDS[values] is np.int8:
        most = 7 if values == "int4" else 127
        array = rng.integers(-most, most + 1, shape).astype(np.int8)
    else:
        array = rng.normal(size=shape).astype(np.float16).astype(np.float32)
    return array * (rng.random(shape) < rng.uniform(0.02, 0.5)).astype(array.dtype)


def graph_of(weight: NDArray[Any]) -> Any:
    """Return a linear layer of a weight, (outputs, inputs); of integers as static int8 has it.

    OpenVINO decodes integers by other kernels where a layer computes with them.
    """
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    real, to_tensor = onnx.TensorProto.FLOAT, onnx.numpy_helper.from_array
    held = {"held": weight}
    nodes = [make("Gemm", ["inputs", "held"], ["said"], transB=1)]
    if weight.dtype == np.int8:
        held |= {"step": np.float32(1), "low": np.uint8(0)}
        held |= {"scale": np.ones(len(weight), "f4"), "zero": np.zeros(len(weight), "i1")}
        nodes = [
            make("QuantizeLinear", ["inputs", "step", "low"], ["number"]),
            make("DequantizeLinear", ["number", "step", "low"], ["rounded"]),
            make("DequantizeLinear", ["held", "scale", "zero"], ["weight"], axis=0),
            make("Gemm", ["rounded", "weight"], ["said"], transB=1),
        ]
    stored = [to_tensor(np.asarray(array), name) for name, array in held.items()]
    given = [info("inputs", real, ["rows", weight.shape[1]])]
    made = [info("said", real, ["rows", len(weight)])]
    graph = onnx.helper.make_graph(nodes, "linear", given, made, stored)
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)


@pytest.mark.parametrize("values", KINDS)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_decoded_tensor_is_the_tensor(values: str, runtime: str) -> None:
    reads = pytest.importorskip(runtime)
    packed = 0
    for seed in range(count(4, 200)):
        array = drawn(values, seed)
        model = self_decoding(graph_of(array), values=values)
        packed += any(node.op_type == "ScatterElements" for node in model.graph.node)
        data, given = model.SerializeToString(), np.eye(array.shape[1], dtype=np.float32)
        if runtime == "openvino":
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            said = reads.Core().compile_model(reads.Core().read_model(data), "CPU", exact)([given])[
                0
            ]
        else:
            (said,) = session(data, precise=True).run(None, {"inputs": given})
        np.testing.assert_array_equal(said.T, array.astype(np.float32), f"seed {seed}")
    assert packed
