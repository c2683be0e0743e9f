"""`program_of`, `load_method`: a module as an ExecuTorch program, and a program in its runtime.

XNNPACK computes linear layers and convolutions; the number of rows of a call is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, ModelError
from safecompress.export.graph import PositionalModule, in_fp32, quiet, reason_of
from safecompress.protocols import Inputs, tensors_of

INSTALL = "pip install 'safecompress[executorch]'"
MOST_ROWS = 64
"""Most rows of one call; the memory of a program is planned for them when it is made."""
_CALIBRATION_BATCH = 16
_LAYERS = ("aten.linear", "aten.conv", "aten.embedding", "aten.addmm", "aten.lstm", "aten.gru")
"""Operators that read weights, by the beginning of their names."""


def program_of(module: nn.Module, members: Inputs, *, values: str) -> bytes:
    """Return a module as the bytes of a `.pte` program.

    Int8 is static: the activations of `members` fix the ranges, and weights are symmetric with a
    scale per output channel, so zeros stay zeros. The layers that make the logits stay fp32, like
    everything after them, because logits rounded to 256 levels tie, and ties make a model look
    safer than it is. Operators
    that XNNPACK lacks are left to ExecuTorch's portable ones; `load_method` refuses a program with
    an operator that neither has.

    Args:
        module: computed in evaluation mode, in fp32.
        members: model-ready inputs of rows that it was trained on.
        values: `fp32` or `int8`.

    Raises:
        ConfigError: when executorch is not installed.
        ModelError: when the module cannot be lowered.
    """
    with _tools():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

    module, members = in_fp32(module, members)
    by_place = PositionalModule.of(module, members).eval()
    given = tuple(t.cpu() for t in tensors_of(members))
    try:
        with quiet(), torch.no_grad():
            exported = _exported(by_place, given)
            if values == "int8":
                exported = _exported(in_int8(exported.module(), given), given)
            lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            program = bytes(lowered.to_executorch().buffer)
    except Exception as error:
        raise ModelError(
            f"export: the model cannot be lowered to ExecuTorch ({reason_of(error)})."
            " Its forward must be traceable for any batch; the ONNX formats take more operators, "
            "the safetensors formats any model."
        ) from error
    return program


def load_method(program: bytes, where: str) -> Any:
    """Return the method of a program in ExecuTorch's own runtime.

    Args:
        program: the bytes of a `.pte`.
        where: names the program in messages.

    Raises:
        ConfigError: when executorch is not installed.
        ModelError: when the runtime does not load it.
    """
    with _tools():
        from executorch.runtime import Runtime
    try:
        method = Runtime.get().load_program(program).load_method("forward")
    except RuntimeError as error:
        raise ModelError(
            f"{where}: ExecuTorch's runtime does not load the program ({error}): it is damaged, or "
            "needs an operator that the runtime lacks, as those of embedding bags; choose onnx."
        ) from error
    if method is None:
        raise ModelError(f"{where}: the program has no method 'forward'.")
    return method


def most_rows(method: Any) -> int:
    """Return the most rows of a call: `MOST_ROWS`, or fewer where XNNPACK planned for fewer.

    Args:
        method: from `load_method`.
    """
    return int(method.metadata.input_tensor_meta(0).sizes()[0])


def use_threads(threads: int) -> str:
    """Set the number of ExecuTorch's threads in this process, and return the runtime's full name.

    Programs that were loaded before refer to the old threads and must not be called again.

    Args:
        threads: of an operator, at least 1.

    Raises:
        ConfigError: when executorch is not installed.
    """
    with _tools():
        from executorch.extension.pybindings import portable_lib
        from executorch.version import __version__
    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
    return f"ExecuTorch {__version__}, XNNPACK"


def in_int8(module: Any, given: tuple[Tensor, ...]) -> Any:
    """Return an exported graph in static int8, up to the layers that make the logits.

    Args:
        module: a graph of operators, from `torch.export`.
        given: its inputs for some members, (n, ...) each; their activations fix the ranges.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(
        get_symmetric_quantization_config(is_per_channel=True)
    )
    quantizer.set_filter_function(before_logits(module.graph))
    _give_each_its_own_(module.graph)
    watched = prepare_pt2e(module, quantizer)
    for start in range(0, len(given[0]), _CALIBRATION_BATCH):
        watched(*(t[start : start + _CALIBRATION_BATCH] for t in given))
    return convert_pt2e(watched)


def _give_each_its_own_(graph: Any) -> None:
    """Let each operator read weights by a node of its own, in place.

    A quantizer rounds a weight's node for one operator alone, and the next would compute rounded
    numbers with a weight in fp32, which XNNPACK does not load.
    """
    for node in list(graph.nodes):
        for user in list(node.users)[1:] if node.op == "get_attr" else ():
            with graph.inserting_after(node):
                twin = graph.get_attr(node.target)
            twin.meta = dict(node.meta)
            user.replace_input_with(node, twin)


def before_logits(graph: Any) -> Callable[[Any], bool]:
    """Return a predicate that is False for all operators from the layers of the logits on.

    Args:
        graph: a `torch.fx.Graph` of operators, whose output is the logits.
    """
    last: set[str] = set()
    ahead = list(graph.output_node().all_input_nodes)
    while ahead:
        node = ahead.pop()
        if node.name in last:
            continue
        last.add(node.name)
        if not any(part in str(node.target) for part in _LAYERS):
            ahead += node.all_input_nodes
    return lambda node: node.name not in last


def _exported(module: Any, given: tuple[Tensor, ...]) -> Any:
    rows = tuple(t[:1].expand(2, *t.shape[1:]).contiguous() for t in given)
    batch = torch.export.Dim("n", min=1, max=MOST_ROWS)
    shapes: Any = ({0: batch},) * len(rows)
    if isinstance(module, PositionalModule):
        # `PositionalModule.forward` has one variadic argument, so the shapes are nested once more.
        shapes = (shapes,)
    exported = torch.export.export(module, rows, dynamic_shapes=shapes)
    table = {torch.ops.aten.adaptive_max_pool2d.default: _max_pool}
    return exported.run_decompositions(table)


def _max_pool(x: Tensor, output_size: list[int]) -> tuple[Tensor, Tensor]:
    """Compute adaptive max pooling by ordinary pooling; the edge dialect lacks the former."""
    windows = []
    for size, wanted in zip(x.shape[-2:], output_size, strict=True):
        if size % wanted:
            raise ModelError(f"adaptive_max_pool2d: {wanted} windows do not divide {size}.")
        windows.append(size // wanted)
    pooled: tuple[Tensor, Tensor] = torch.ops.aten.max_pool2d_with_indices(x, windows, windows)
    return pooled


@contextmanager
def _tools() -> Iterator[None]:
    """Silence ExecuTorch's messages while it is imported; a missing package is a `ConfigError`."""
    try:
        with quiet():
            yield
    except ImportError as error:
        raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
