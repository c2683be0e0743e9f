"""`choose_arithmetic`: precision and memory format of a stage, configured, by rule or by timing."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from safecompress import randomness
from safecompress.config import TrainConfig
from safecompress.errors import ConfigError
from safecompress.models.adapt import call
from safecompress.topology import Topology
from safecompress.train.active import Active, active_weights, sparse_parts
from safecompress.train.arithmetic import MEMORY_FORMATS, Arithmetic, obstacle
from safecompress.train.batches import Batches
from safecompress.train.memory import kept_memory
from safecompress.train.optimizers import load_optimizer_state_, make_optimizer
from safecompress.train.predict import mode
from safecompress.train.rule import by_rule
from safecompress.train.sparse_layers import SparseLayers, computing_sparsely, sparse_layers

GAIN = 1.1
"""How many times as fast as the rule's setting another must be to be chosen."""
DUELS = 3
"""How often the fastest setting must win by `GAIN`. Each time both settings are timed again, one
right after the other, because the load of a shared machine changes between timings."""
STEPS_WORTH_A_SETTING = 100
"""Steps that a stage must have for every setting tried; timing then takes 3 % of its time."""

_OPEN = ("auto", "fastest")
_LONG_STEP = 1.0
"""Seconds of a first step that choosing kernels and allocating memory alone cannot explain."""


def choose_arithmetic(
    module: nn.Module,
    batches: Batches,
    config: TrainConfig,
    *,
    device: torch.device,
    total_steps: int,
    topology: Topology | None = None,
) -> Arithmetic:
    """Return the settings to train with.

    What the configuration fixes is kept. `auto` follows a rule that depends on the hardware and the
    shapes alone, so that a repeated run computes the same bits. `fastest` times the alternatives:
    the rule's choice is kept unless another is at least 10 % faster in several comparisons and the
    stage is long enough to save more time than timing takes. Weights, buffers, gradients and
    generators are as before afterwards.

    Args:
        module: the model, on `device`.
        batches: batches of the stage; with `fastest` a few of them are trained on.
        config: precision and memory format, each possibly `auto` or `fastest`.
        device: device of the model.
        total_steps: steps of the stage.
        topology: a mask like those that will be trained. Under it fp32 computes with the existing
            weights alone where that is faster. By default all weights exist.

    Raises:
        ConfigError: when the configuration names channels_last and it cannot be used.
    """
    candidates = _candidates(module, batches, config, device=device, topology=topology)
    default = candidates[0]
    if len(candidates) == 1 or total_steps < STEPS_WORTH_A_SETTING * len(candidates):
        return default
    seconds: dict[Arithmetic, float] = {}
    masked = _Masked(module, Topology({}) if topology is None else topology)

    def timed(settings: Arithmetic) -> float:
        return _step_seconds(
            masked,
            batches,
            config,
            settings,
            device=device,
            budget=min(0.1, 0.01 * total_steps * seconds.get(default, math.inf)),
            hopeless=3.0 * seconds.get(default, math.inf),
        )

    with _undisturbed(module), kept_memory(), randomness.seeded(0, "probe"):
        for settings in candidates:
            seconds[settings] = timed(settings)
        chosen = min(candidates, key=lambda s: seconds[s])
        if seconds[chosen] * GAIN > seconds[default] or not all(
            timed(chosen) * GAIN <= timed(default) for _ in range(DUELS)
        ):
            chosen = default
    rates = {f"{s.precision}/{s.memory_format}": batches.size / t for s, t in seconds.items()}
    return Arithmetic(chosen.precision, chosen.memory_format, rates)


def _candidates(
    module: nn.Module,
    batches: Batches,
    config: TrainConfig,
    *,
    device: torch.device,
    topology: Topology | None,
) -> list[Arithmetic]:
    """Return the settings to choose from: the rule's first, others where they are to be timed."""
    why_not = obstacle(module, batches, device)
    if config.memory_format == "channels_last" and why_not:
        raise ConfigError(
            f"train.memory_format: channels_last cannot be used: {why_not}; use auto."
        )
    formats: list[str] = [config.memory_format]
    precisions: list[str] = [config.precision]
    open_format = config.memory_format in _OPEN
    if open_format:
        formats = ["contiguous"]
    if config.precision in _OPEN or (open_format and not why_not):
        rule = by_rule(module, batches, device=device, topology=topology, channels_last=not why_not)
        precisions = [rule.precision] if config.precision in _OPEN else precisions
        formats = [rule.memory_format] if open_format else formats
    if config.precision == "fastest":
        able = device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported())
        others = ("32-true", "bf16-mixed") if able else ("32-true",)
        precisions += [other for other in others if other not in precisions]
    if config.memory_format == "fastest" and not why_not:
        formats += [other for other in MEMORY_FORMATS if other not in formats]
    return [Arithmetic(p, f) for p in precisions for f in formats]


class _Masked:
    """A module under a mask; its vectors and sparse layers are made once per memory format.

    Args:
        module: the module.
        topology: which of its weights exist.
    """

    def __init__(self, module: nn.Module, topology: Topology) -> None:
        self.module, self.topology = module, topology
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._by_format: dict[torch.memory_format, tuple[Active, SparseLayers]] = {}

    def laid_out_(self, settings: Arithmetic, batches: Batches) -> tuple[Active, SparseLayers]:
        """Put the module into a memory format; return the optimizer's tensors and sparse layers."""
        form = settings.torch_format
        self.module.to(memory_format=form)  # type: ignore[call-overload]
        if form not in self._by_format:
            active = active_weights(self.parameters, self.topology, self.module)
            layers = sparse_layers(active, self.module)
            batch = batches.at(0, memory_format=form)
            # Sparse layers compute their patterns at the first call, once per mask, so that time is
            # not part of a step.
            with torch.no_grad(), computing_sparsely(layers, trial=True):
                call(self.module, batch.inputs)
            self._by_format[form] = active, layers
        active, layers = self._by_format[form]
        for part in sparse_parts(active):
            part.read_()
        # The trainer computes with whole weights in mixed precision, too.
        return active, layers if settings.precision == "32-true" else {}


def _step_seconds(
    masked: _Masked,
    batches: Batches,
    config: TrainConfig,
    settings: Arithmetic,
    *,
    device: torch.device,
    budget: float,
    hopeless: float,
) -> float:
    """Return the shortest time of a whole training step, in seconds.

    Args:
        masked: the model, in training mode.
        batches: batches of the stage.
        config: the optimizer.
        settings: the precision and memory format to time.
        device: device of the model.
        budget: seconds of steps to time at least; there are at least two steps after the first.
        hopeless: seconds of a step at which timing a setting ends early.
    """
    module = masked.module
    active, layers = masked.laid_out_(settings, batches)
    optimizer = make_optimizer(config, masked.parameters)
    load_optimizer_state_(optimizer, config, active, {})
    dtype = torch.float16 if settings.precision == "16-mixed" else torch.bfloat16
    times: list[float] = []
    while len(times) < 3 or sum(times[1:]) < budget:
        started = time.perf_counter()
        batch = batches.at(len(times), memory_format=settings.torch_format)
        with (
            computing_sparsely(layers, trial=True),
            torch.autocast(device.type, dtype=dtype, enabled=settings.precision != "32-true"),
        ):
            logits = call(module, batch.inputs)
        functional.cross_entropy(logits.float(), batch.labels).backward()  # type: ignore[no-untyped-call]
        for part in sparse_parts(active):
            if part.values.grad is None:
                part.read_gradient_()
        optimizer.step()
        for part in sparse_parts(active):
            part.write_()
            part.values.grad = None
        module.zero_grad()
        if device.type != "cpu":
            torch.get_device_module(device).synchronize()
        times.append(time.perf_counter() - started)
        if times[-1] > hopeless and (len(times) > 1 or times[-1] > _LONG_STEP):
            break
    # The first step also chooses kernels and allocates memory.
    return min(times[1:] or times)


@contextmanager
def _undisturbed(module: nn.Module) -> Iterator[None]:
    tensors = [*module.parameters(), *module.buffers()]
    kept = [(t, t.detach().clone()) for t in tensors]
    gradients = [(p, p.grad) for p in module.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        with mode(module, training=True):
            yield
    finally:
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
        for parameter, gradient in gradients:
            parameter.grad = gradient
