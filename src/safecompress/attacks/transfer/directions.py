"""Slopes of an unseen function: from answers along random directions, with a prior or without."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from safecompress.attacks.transfer.query_attack import QueryTask

SIGMA = 1e-4
"""How far along a direction of RMS 1 the function is asked again."""
_DOUBLINGS = 14
"""From 1e-4 to about 1.6: farther than the whole input range there is no slope to speak of."""


def rms_one(t: Tensor) -> Tensor:
    """Return each row over its root mean square, zero where it is zero; (n, …)."""
    rms = t.flatten(1).square().mean(dim=1).sqrt().reshape(-1, *[1] * (t.ndim - 1))
    return t / torch.where(rms > 0, rms, torch.ones_like(rms))


def optimal_weight(alpha: Tensor, *, dimension: int, samples: int) -> Tensor:
    """Return λ*, the weight of the prior that makes the expected estimate best, in [0, 1].

    Args:
        alpha: cosine of the prior and the true gradient, of any sign.
        dimension: D, numbers in an input.
        samples: q, directions in an estimate.

    Reference: Cheng et al., NeurIPS 2019, equation 12.

    >>> optimal_weight(torch.tensor([0.0, 0.2, 1.0]), dimension=100, samples=10).tolist()
    [0.0, 0.05940119922161102, 1.0]
    """
    a, d, q = alpha.double().square(), dimension, samples
    whole = d + 2 * q - 2
    inner = (1 - a) * (a * whole - 1) / (2 * a * d * q - a.square() * d * whole - 1)
    low, high = a <= 1 / whole, a >= (2 * q - 1) / whole
    # Between the two the denominator is positive; outside it may vanish, and is not used.
    return torch.where(low, 0.0, torch.where(high, 1.0, inner)).clamp(0, 1).to(alpha)


def biased(prior: Tensor, around: Tensor, weight: Tensor) -> Tensor:
    """Return directions √λ·v + √(1 − λ)·(the part of ξ beside v, to RMS 1), (k, m, …).

    Args:
        prior: v, of RMS 1, or 0 where the source says nothing, (k, …).
        around: ξ, (m, …), the same for all rows.
        weight: λ, (k,), in [0, 1].
    """
    v, xi = prior.flatten(1), around.flatten(1)
    length = v.square().sum(dim=1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
    share = (v[:, None] * xi[None]).sum(dim=2) / length
    beside = xi[None] - share[:, :, None] * v[:, None]
    beside = beside / beside.square().mean(dim=2, keepdim=True).sqrt()
    lam = weight.to(v)[:, None, None]
    made = lam.sqrt() * v[:, None] + (1 - lam).sqrt() * beside
    return made.reshape(len(v), len(xi), *prior.shape[1:])


def slopes(
    hunt: QueryTask, rows: Tensor, at: Tensor, directions: Tensor, *, here: Tensor, sigma: Tensor
) -> Tensor:
    """Return (L(x + σu) − L(x)) / σ for each direction u, (k, m); rows out of budget get 0.

    Where all of a row's differences are exactly 0 (a quantized model answers in steps), its σ
    doubles and it is asked again; `sigma`, of all the hunt's rows, is changed in place.

    Args:
        hunt: whom is asked.
        rows: int64 (k,), open rows.
        at: points x, (k, …).
        directions: u, (k, m, …) or (1, m, …).
        here: L(x), (k,).
        sigma: σ of every row of the hunt.
    """
    many = directions.shape[1]
    found = torch.zeros(len(rows), many).to(at)
    pending = torch.arange(len(rows), device=rows.device)
    for _ in range(_DOUBLINGS):
        pending = pending[hunt.affording(rows[pending], many)]
        if not len(pending):
            break
        who = rows[pending]
        reach = sigma[who].reshape(-1, *[1] * at.ndim)
        u = directions if len(directions) == 1 else directions[pending]
        risen = hunt.probe(who, at[pending, None] + reach * u) - here[pending, None]
        found[pending] = risen / sigma[who, None]
        flat = (risen == 0).all(dim=1)
        sigma[who[flat]] *= 2
        pending = pending[flat]
    return found


def estimate(slope: Tensor, directions: Tensor) -> Tensor:
    """Return the mean of slope × direction, (k, …).

    Args:
        slope: (k, m).
        directions: (k, m, …) or (1, m, …).
    """
    weight = slope.reshape(*slope.shape, *[1] * (directions.ndim - 2))
    return (weight * directions).mean(dim=1)


def gradient_norm(slope: Tensor) -> Tensor:
    """Return the length of a gradient from its slopes along random directions of RMS 1, (k,).

    Along a random direction of length √D a gradient's slope has the mean square ‖∇‖².
    """
    return slope.square().mean(dim=1).sqrt()


def cosine(slope: Tensor, norm: Tensor, dimension: int) -> Tensor:
    """Return α = slope / (√D ‖∇‖), in [−1, 1]: the cosine of the gradient and a prior of RMS 1.

    Args:
        slope: along the prior, (k,).
        norm: ‖∇‖, (k,); 0 where nothing is known, which gives 0.
        dimension: D.
    """
    length = math.sqrt(dimension) * norm
    return torch.where(length > 0, slope / length, torch.zeros_like(slope)).clamp(-1, 1)
