"""`craft`: runs a transfer attack in blocks of rows, on a model in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer.asked import AskedModule
from safecompress.errors import DataError, MissingEvidenceError, NonFiniteError
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
    """Return a point for each row, float (n, …), on the rows' device.

    Args:
        attack: the attack to run.
        source: the model the attacker holds. A module is evaluated in evaluation mode and fp32, on
            its own device, and its flags, buffers and its parameters' `.grad` are left alone.
        x: rows, float (n, …), inside the ball's range.
        labels: int64 (n,), the true classes.
        ball: the points that may be sent instead of a row.
        seed: seed of everything random.
        targets: int64 (n,), the class that each point must be classified as; None accepts any class
            other than the label.
        batch_size: number of rows in a block; it affects the time, not the points.

    Raises:
        DataError: when rows lie outside the ball's range, or there are not as many labels as rows.
        NonFiniteError: when the model's gradients are NaN.
    """
    require_rows(x, labels, ball=ball, targets=targets)
    crafted = []
    with craft_context(source, x) as (model, device):
        for index in torch.split(torch.arange(len(x), device=x.device), batch_size):
            block = x[index].to(device)
            block_labels = labels[index].to(device)
            block_targets = None if targets is None else targets[index].to(device)
            points = attack.perturb(
                model, block, block_labels, ball=ball, seed=seed, targets=block_targets
            )
            crafted.append(ball.project(points.detach(), block).to(x.device))
    result = torch.cat(crafted) if crafted else x.clone()
    if not bool(torch.isfinite(result).all()):
        raise NonFiniteError(
            f"{attack.name}: gradients of the source are NaN; its weights or inputs are broken."
        )
    return result


@contextmanager
def craft_context(
    source: nn.Module | Source | None, x: Tensor
) -> Iterator[tuple[Source, torch.device]]:
    """Yield a differentiable source and its device, in evaluation mode and fp32, with autograd on.

    Args:
        source: a module or any differentiable callable. With None, calling the yielded source
            raises `MissingEvidenceError`.
        x: rows, whose device is used where the source is not a module with parameters.
    """
    device, model = x.device, source or _no_source
    with ExitStack() as stack:
        if isinstance(source, nn.Module):
            parameter = next(source.parameters(), None)
            device = x.device if parameter is None else parameter.device
            stack.enter_context(mode(source, training=False))
            model = AskedModule(source)
        stack.enter_context(full_precision(device))
        stack.enter_context(torch.enable_grad())
        yield model, device


def _no_source(points: Tensor) -> Tensor:
    raise MissingEvidenceError(f"asked about {len(points)} points without a model to ask.")


def require_rows(x: Tensor, labels: Tensor, *, ball: Ball, targets: Tensor | None) -> None:
    """Raise an error for rows that cannot be attacked within a ball.

    Args:
        x: rows (n, …).
        labels: int64 (n,).
        ball: the ball, whose range the rows must lie in.
        targets: int64 (n,), or None.

    Raises:
        DataError: when rows are not floating-point, lie outside the range by more than rounding,
            or there are not as many labels or targets.
    """
    if not x.is_floating_point():
        raise DataError(f"rows of {x.dtype}; expected real numbers.")
    sizes = {len(x), len(labels), len(x) if targets is None else len(targets)}
    if len(sizes) > 1:
        raise DataError(
            f"{len(x)} rows, {len(labels)} labels, "
            f"{'no' if targets is None else len(targets)} targets; expected as many of each."
        )
    # The conversion of standardized images to units has rounding errors, so allow a little.
    outside = (x < ball.low - 1e-4) | (x > ball.high + 1e-4)
    if bool(outside.any()):
        raise DataError(
            f"rows from {float(x.min()):.4g} to {float(x.max()):.4g} leave the input range "
            f"[{ball.low:g}, {ball.high:g}]; bring them into it first (InputRange.units)."
        )
