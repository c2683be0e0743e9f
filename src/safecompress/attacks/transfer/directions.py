"""`slopes`, `estimate`, `biased`: gradient estimates from queries along random directions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from safecompress.attacks.transfer.query_attack import QueryTask

SIGMA = 1e-4
"""Initial step of the finite differences along a direction of RMS 1, in units."""
_DOUBLINGS = 14
"""Number of values of σ tried, 1e-4 to about 0.8; larger steps would leave the input range."""


def rms_one(t: Tensor) -> Tensor:
    """Return each row over its root mean square, (n, …); a zero row stays zero.

    Args:
        t: float (n, …).
    """
    rms = t.flatten(1).square().mean(dim=1).sqrt().reshape(-1, *[1] * (t.ndim - 1))
    return t / torch.where(rms > 0, rms, torch.ones_like(rms))


def optimal_weight(alpha: Tensor, *, dimension: int, samples: int) -> Tensor:
    """Return λ*, the weight of the prior with the best expected estimate, (k,), in [0, 1].

    Args:
        alpha: cosine of the prior and the true gradient, float (k,), of any sign.
        dimension: D, the number of values in an input.
        samples: q, the number of directions in an estimate.

    Reference: Cheng et al., NeurIPS 2019, equation 12.

    >>> optimal_weight(torch.tensor([0.0, 0.2, 1.0]), dimension=100, samples=10).tolist()
    [0.0, 0.05940119922161102, 1.0]
    """
    a, d, q = alpha.double().square(), dimension, samples
    whole = d + 2 * q - 2
    inner = (1 - a) * (a * whole - 1) / (2 * a * d * q - a.square() * d * whole - 1)
    low, high = a <= 1 / whole, a >= (2 * q - 1) / whole
    # The denominator is positive between the two bounds; beyond them `inner` is not used.
    return torch.where(low, 0.0, torch.where(high, 1.0, inner)).clamp(0, 1).to(alpha)


def biased(prior: Tensor, around: Tensor, weight: Tensor) -> Tensor:
    """Return directions √λ·v + √(1 − λ)·ξ′, (k, m, …), with ξ′ the part of ξ orthogonal to v.

    ξ′ is scaled to RMS 1.

    Args:
        prior: v, float (k, …), of RMS 1, or 0 where the source's gradient is zero.
        around: ξ, float (m, …), random directions, the same for all rows.
        weight: λ, float (k,), in [0, 1].
    """
    v, xi = prior.flatten(1), around.flatten(1)
    length = v.square().sum(dim=1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
    share = (v[:, None] * xi[None]).sum(dim=2) / length
    orthogonal = xi[None] - share[:, :, None] * v[:, None]
    orthogonal = orthogonal / orthogonal.square().mean(dim=2, keepdim=True).sqrt()
    lam = weight.to(v)[:, None, None]
    directions = lam.sqrt() * v[:, None] + (1 - lam).sqrt() * orthogonal
    return directions.reshape(len(v), len(xi), *prior.shape[1:])


def slopes(
    task: QueryTask, rows: Tensor, at: Tensor, directions: Tensor, *, here: Tensor, sigma: Tensor
) -> Tensor:
    """Return (L(x + σu) − L(x)) / σ for each direction u, (k, m); rows out of budget get 0.

    When all of a row's differences are exactly 0, as they can be for a quantized model, whose
    outputs are a step function, the row's σ is doubled and its queries are repeated.

    Args:
        task: the rows; all queries go through it.
        rows: int64 (k,), open rows.
        at: points x, float (k, …).
        directions: u, float (k, m, …) or (1, m, …).
        here: L(x), float (k,).
        sigma: σ of all n rows of the task, float (n,), changed in place.
    """
    many = directions.shape[1]
    result = torch.zeros(len(rows), many).to(at)
    pending = torch.arange(len(rows), device=rows.device)
    for _ in range(_DOUBLINGS):
        pending = pending[task.affording(rows[pending], many)]
        if not len(pending):
            break
        active = rows[pending]
        step = sigma[active].reshape(-1, *[1] * at.ndim)
        u = directions if len(directions) == 1 else directions[pending]
        change = task.probe(active, at[pending, None] + step * u) - here[pending, None]
        result[pending] = change / sigma[active, None]
        flat = (change == 0).all(dim=1)
        sigma[active[flat]] *= 2
        pending = pending[flat]
    return result


def estimate(slope: Tensor, directions: Tensor) -> Tensor:
    """Return the gradient estimate, the mean of slope × direction, (k, …).

    Args:
        slope: float (k, m).
        directions: float (k, m, …) or (1, m, …).
    """
    weight = slope.reshape(*slope.shape, *[1] * (directions.ndim - 2))
    return (weight * directions).mean(dim=1)


def gradient_norm(slope: Tensor) -> Tensor:
    """Return the length of a gradient from its slopes along random directions of RMS 1, (k,).

    The mean square of a gradient's slope along a random direction of length √D is ‖∇‖².

    Args:
        slope: float (k, m).
    """
    return slope.square().mean(dim=1).sqrt()


def cosine(slope: Tensor, norm: Tensor, dimension: int) -> Tensor:
    """Return α = slope / (√D ‖∇‖), in [−1, 1]: the cosine of the gradient and a prior of RMS 1.

    Args:
        slope: slope along the prior, float (k,).
        norm: ‖∇‖, float (k,); 0 before it is estimated, which gives a cosine of 0.
        dimension: D, the number of values in an input.
    """
    length = math.sqrt(dimension) * norm
    return torch.where(length > 0, slope / length, torch.zeros_like(slope)).clamp(-1, 1)
