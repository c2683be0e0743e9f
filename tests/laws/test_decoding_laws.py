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
    """Return a tensor with zeros that the number format holds exactly."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(40, 90, int(rng.integers(2, 4))))
    if KINDS[values] is np.int8:
        most = 7 if values == "int4" else 127
        array = rng.integers(-most, most + 1, shape).astype(np.int8)
    else:
        array = rng.normal(size=shape).astype(np.float16).astype(np.float32)
    return array * (rng.random(shape) < rng.uniform(0.02, 0.5)).astype(array.dtype)


def graph_of(array: NDArray[Any]) -> Any:
    """Return a graph whose answer is a tensor, in fp32, and a number that is given."""
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    real = onnx.TensorProto.FLOAT
    nodes = [make("Cast", ["held"], ["real"], to=real), make("Add", ["real", "inputs"], ["said"])]
    held = [onnx.numpy_helper.from_array(array, "held")]
    given, made = [info("inputs", real, [1])], [info("said", real, array.shape)]
    graph = onnx.helper.make_graph(nodes, "held", given, made, held)
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)


@pytest.mark.parametrize("values", KINDS)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_decoded_tensor_is_the_tensor(values: str, runtime: str) -> None:
    reads = pytest.importorskip(runtime)
    packed = 0
    for seed in range(count(4, 200)):
        array = drawn(values, seed)
        data = (model := self_decoding(graph_of(array), values=values)).SerializeToString()
        packed += len(model.graph.node) > 2
        given = np.zeros(1, np.float32)
        if runtime == "openvino":
            said = reads.Core().compile_model(reads.Core().read_model(data), "CPU")([given])[0]
        else:
            (said,) = session(data).run(None, {"inputs": given})
        np.testing.assert_array_equal(said, array.astype(np.float32), f"seed {seed}")
    assert packed
