"""`ExecutorchProgram`, `load_method`: a module as a program, and a program in its runtime.

XNNPACK computes linear layers and convolutions; the number of rows of a call is open.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from safecompress.errors import ConfigError, ModelError
from safecompress.export.context import ExportContext
from safecompress.export.graph import PositionalModule, in_fp32, ordinary_pooling, quiet, reason_of
from safecompress.protocols import tensors_of

INSTALL = "pip install 'safecompress[executorch]'"
MOST_ROWS = 64
"""Most rows of one call; the memory of a program is planned for them when it is made."""
_CALIBRATION_BATCH = 16
_SMALLEST_STEP = 2.0**-12
"""XNNPACK's quantizer takes no finer one."""
_LAYERS = ("aten.linear", "aten.conv", "aten.embedding", "aten.addmm", "aten.lstm", "aten.gru")
"""Operators that read weights, by the beginning of their names."""
_ROUNDED = ("aten.linear", "aten.conv")
"""Those whose second argument is a weight that int8 rounds."""
_MODEL = "model."
"""What names of weights begin with in the graph of a `PositionalModule`."""


class ExecutorchProgram:
    """A model as ExecuTorch programs.

    Operators that XNNPACK lacks are left to ExecuTorch's portable ones; `load_method` refuses a
    program with an operator that neither has.

    Args:
        context: the model, computed in evaluation mode, in fp32, and its members.

    Raises:
        ConfigError: when executorch is not installed.
        ModelError: when the module cannot be lowered.
    """

    def __init__(self, context: ExportContext) -> None:
        module, members = in_fp32(context.module, context.members)
        by_place = PositionalModule.of(module, members).eval()
        self._members = tuple(t.cpu() for t in tensors_of(members))
        with _lowering():
            self._graph = _exported(by_place, self._members)

    @cached_property
    def layers(self) -> dict[str, str]:
        """The model's layers that `int8` rounds, by the names of their weights in the graph."""
        graph = self._graph.module().graph
        rounded = before_logits(graph)
        found = (weight_of(node) for node in graph.nodes if rounded(node))
        return {name: name.removeprefix(_MODEL).removesuffix(".weight") for name in found if name}

    @cached_property
    def fp32(self) -> bytes:
        """The program in fp32."""
        with _lowering():
            return _lowered(self._graph)

    def int8(self, kept: Collection[str]) -> bytes:
        """Return the program in static int8.

        The activations of the members fix the ranges, and weights are symmetric with a scale per
        output channel, so zeros stay zeros. The layers that make the logits stay fp32, like
        everything after them, because logits rounded to 256 levels tie, and ties make a model look
        safer than it is.

        Args:
            kept: names in `layers` of those that stay in fp32, too.
        """
        if set(kept) >= set(self.layers):
            return self.fp32
        with _lowering():
            rounded = in_int8(self._graph.module(), self._members, kept)
            return _lowered(_exported(rounded, self._members))


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


def in_int8(module: Any, given: tuple[Tensor, ...], kept: Collection[str] = ()) -> Any:
    """Return an exported graph in static int8, up to the layers that make the logits.

    Args:
        module: a graph of operators, from `torch.export`.
        given: its inputs for some members, (n, ...) each; their activations fix the ranges.
        kept: names of weights whose layers stay in fp32.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import MinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    settings = get_symmetric_quantization_config(is_per_channel=True)
    # The default chooses a range by a histogram, which cuts off the largest numbers of members.
    ranges = replace(
        settings.input_activation,
        observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=_SMALLEST_STEP),
    )
    settings = replace(settings, input_activation=ranges, output_activation=ranges)
    quantizer = XNNPACKQuantizer().set_global(settings)
    rounded = before_logits(module.graph)
    exact = {node.name for node in module.graph.nodes if weight_of(node) in kept}
    quantizer.set_filter_function(lambda node: rounded(node) and node.name not in exact)
    _give_each_its_own_(module)
    watched = prepare_pt2e(module, quantizer)
    for start in range(0, len(given[0]), _CALIBRATION_BATCH):
        watched(*(t[start : start + _CALIBRATION_BATCH] for t in given))
    return convert_pt2e(watched)


def weight_of(node: Any) -> str | None:
    """Return the name of the weight of a linear layer or a convolution; None of another operator.

    Args:
        node: of a graph from `torch.export`.
    """
    if not any(part in str(node.target) for part in _ROUNDED):
        return None
    weight = node.args[1]
    return str(weight.target) if weight.op == "get_attr" else None


def _give_each_its_own_(module: Any) -> None:
    """Let each operator of a graph read weights and biases of its own, in place.

    A quantizer rounds a weight's node for one operator alone, and XNNPACK rounds a bias by the
    steps of the first operator that reads it, whichever reads it then.
    """
    for node in [n for n in module.graph.nodes if n.op == "get_attr"]:
        for number, user in enumerate(list(node.users)[1:]):
            name = f"{node.target}_again{number}".replace(".", "_")
            held = operator.attrgetter(node.target)(module)
            module.register_buffer(name, held.detach().clone())
            with module.graph.inserting_after(node):
                twin = module.graph.get_attr(name)
            twin.meta = dict(node.meta)
            user.replace_input_with(node, twin)
    module.recompile()


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
    return exported.run_decompositions(ordinary_pooling())


def _lowered(exported: Any) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


@contextmanager
def _lowering() -> Iterator[None]:
    """Say what the converters of ExecuTorch fail on."""
    try:
        with _tools(), torch.no_grad():
            yield
    except ConfigError:
        raise
    except Exception as error:
        raise ModelError(
            f"export: the model cannot be lowered to ExecuTorch ({reason_of(error)})."
            " Its forward must be traceable for any batch; the ONNX formats take more operators, "
            "the safetensors formats any model."
        ) from error


@contextmanager
def _tools() -> Iterator[None]:
    """Silence ExecuTorch's messages while it is imported; a missing package is a `ConfigError`."""
    try:
        with quiet():
            yield
    except ImportError as error:
        raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
