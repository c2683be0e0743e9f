"""Running a gradient attack: rows in blocks, the model in evaluation mode, the ball kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from safecompress.errors import DataError, MissingEvidenceError, NonFiniteError
from safecompress.models.adapt import adapt
from safecompress.protocols import Ball, Source, TransferAttack
from safecompress.train.predict import full_precision, mode

_BATCH = 256


def craft(
    attack: TransferAttack,
    source: nn.Module | Source,
    x: Tensor,
    labels: Tensor,
    *,
    ball: Ball,
    seed: int,
    targets: Tensor | None = None,
    batch_size: int = _BATCH,
) -> Tensor:
    """Return a point for each row, (n, …), on the rows' device.

    Args:
        attack: what crafts them.
        source: the model the attacker holds; a module is asked in evaluation mode and fp32, on its
            own device, and its flags, buffers and parameters' gradients are left alone.
        x: rows, float (n, …), inside the ball's range.
        labels: int64 (n,).
        ball: what may be sent in a row's place.
        seed: of everything random.
        targets: int64 (n,), the class each row must be taken for, or None.
        batch_size: rows at once; changes the time, not the points.

    Raises:
        DataError: when rows lie outside the range, or labels are not as many as rows.
        NonFiniteError: when the model's gradients are NaN.
    """
    require_rows(x, labels, ball=ball, targets=targets)
    found = []
    with craft_context(source, x) as (asked, device):
        for index in torch.split(torch.arange(len(x), device=x.device), batch_size):
            block = x[index].to(device)
            wanted = None if targets is None else targets[index].to(device)
            points = attack.perturb(
                asked, block, labels[index].to(device), ball=ball, seed=seed, targets=wanted
            )
            found.append(ball.project(points.detach(), block).to(x.device))
    made = torch.cat(found) if found else x.clone()
    if not bool(torch.isfinite(made).all()):
        raise NonFiniteError(
            f"{attack.name}: gradients of the source are NaN; its weights or inputs are broken."
        )
    return made


@contextmanager
def craft_context(
    source: nn.Module | Source | None, x: Tensor
) -> Iterator[tuple[Source, torch.device]]:
    """Yield a source to climb on and its device: in evaluation mode and fp32, gradients on.

    Args:
        source: a module, any differentiable callable, or None, which then may not be asked.
        x: rows, whose device counts where the source is no module with parameters.
    """
    device, asked = x.device, source or _nobody
    with ExitStack() as stack:
        if isinstance(source, nn.Module):
            parameter = next(source.parameters(), None)
            device = x.device if parameter is None else parameter.device
            stack.enter_context(mode(source, training=False))
            asked = partial(_logits, source)
        stack.enter_context(full_precision(device))
        stack.enter_context(torch.enable_grad())
        yield asked, device


def _logits(module: nn.Module, points: Tensor) -> Tensor:
    return adapt(module(points))


def _nobody(points: Tensor) -> Tensor:
    raise MissingEvidenceError(f"asked about {len(points)} points without a model to ask.")


def require_rows(x: Tensor, labels: Tensor, *, ball: Ball, targets: Tensor | None) -> None:
    """Refuse rows that no ball can be drawn around.

    Raises:
        DataError: when rows are no real numbers, lie outside the range, or labels or targets are
            not as many.
    """
    if not x.is_floating_point():
        raise DataError(f"rows of {x.dtype}; expected real numbers.")
    sizes = {len(x), len(labels), len(x) if targets is None else len(targets)}
    if len(sizes) > 1:
        raise DataError(
            f"{len(x)} rows, {len(labels)} labels, "
            f"{'no' if targets is None else len(targets)} targets; expected as many of each."
        )
    # Standardized images come back to their range with rounding.
    outside = (x < ball.low - 1e-4) | (x > ball.high + 1e-4)
    if bool(outside.any()):
        raise DataError(
            f"rows from {float(x.min()):.4g} to {float(x.max()):.4g} leave the input range "
            f"[{ball.low:g}, {ball.high:g}]; bring them into it first (InputRange.units)."
        )
