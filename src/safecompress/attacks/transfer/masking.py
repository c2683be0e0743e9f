"""`GradientSigns`, `gradient_signs`: whether a small model hides the gradient that transfers.

White-box attacks succeed on a model whose gradient is large noise of high frequency, so their
failure is one sign of masked gradients and not the only one. The others compare the two models'
gradients and what they say under noise that no eye sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from safecompress.attacks.transfer.aim import Aim, input_gradient
from safecompress.attacks.transfer.craft import craft_context
from safecompress.attacks.transfer.smoothing import blurred, is_image, noisy
from safecompress.protocols import Ball, Rows
from safecompress.randomness import generator
from safecompress.train.predict import predict

SMALL_NOISE = 0.01
"""Standard deviation of noise that no eye sees, 2.5 gray levels, as a fraction of the range."""
BLUR = 1.5
"""Standard deviation in pixels of the blur that shows low frequencies."""
SMOOTHING_NOISE, SMOOTHING_SAMPLES = 0.1, 8
"""Noise over which gradients are averaged where inputs are not images, and number of draws."""
TOP_BAND = 0.4
"""Frequencies above it, in cycles per pixel along either axis, make the highest band."""
NORM_RATIO, TOP_SHARE, COSINE_SHARE, LEAST_COSINE, MOST_LOST = 4.0, 0.5, 0.25, 0.1, 0.2
_ROWS = 256
_SMALL = 1e-30


@dataclass(frozen=True)
class GradientSigns:
    """What tells a gradient that is hidden from one that is not there.

    Gradients are those of the logit margin with respect to a row, because the cross-entropy's
    vanish where a model is sure. Each figure of the small model is compared with the full one's.

    Args:
        norm_ratio: median length of the small model's gradient over its median margin, divided by
            the same of the full model; above 4 is a sign.
        top_share: share of the energy of the small model's gradient in the highest band of
            frequencies, in [0, 1]; above ½ and above twice the full model's is a sign. None where
            rows are not images.
        top_share_full: the same of the full model.
        cosine: mean cosine of both models' gradients, in [-1, 1].
        smooth_cosine: the same after a blur, or of means over noise where rows are not images; at
            least .1 and over four times |cosine| is a sign.
        lost: share of the rows that the small model gets wrong under noise of .01 minus the full
            model's, of rows that both get right; above .2 is a sign.
    """

    norm_ratio: float
    top_share: float | None
    top_share_full: float | None
    cosine: float
    smooth_cosine: float
    lost: float

    @property
    def found(self) -> tuple[str, ...]:
        """The signs of a hidden gradient, in words; empty where there are none."""
        signs = []
        if self.norm_ratio > NORM_RATIO:
            signs.append(f"its gradients are {self.norm_ratio:.1f} times as long")
        if (
            self.top_share is not None
            and self.top_share_full is not None
            and self.top_share > max(TOP_SHARE, 2 * self.top_share_full)
        ):
            signs.append(
                f"{self.top_share:.0%} of their energy lie in the highest frequencies, of the "
                f"dense one's {self.top_share_full:.0%}"
            )
        if self.smooth_cosine > LEAST_COSINE and abs(self.cosine) < (
            COSINE_SHARE * self.smooth_cosine
        ):
            signs.append(f"their cosine is {self.cosine:.2f}, smoothed {self.smooth_cosine:.2f}")
        if self.lost > MOST_LOST:
            signs.append(f"noise of {SMALL_NOISE:g} costs it {self.lost:.0%} more of its answers")
        return tuple(signs)


def gradient_signs(
    full: nn.Module, small: nn.Module, x: Tensor, labels: Tensor, *, ball: Ball, seed: int
) -> GradientSigns:
    """Return what a comparison of both models' gradients shows of hidden ones.

    Args:
        full: the attacked model; needs gradients, as the small one does.
        small: the model the attacker holds.
        x: rows that both models get right, float (n, …); the first 256 are used.
        labels: int64 (n,).
        ball: has the input range, and which numbers of a row may change.
        seed: seed of the noise.
    """
    x, labels = x[:_ROWS], labels[:_ROWS]
    raw = [_gradient(model, x, labels) for model in (full, small)]
    shares: list[float | None] = [None, None]
    if is_image(x):
        smooth = [blurred(gradient, BLUR) for gradient in raw]
        shares = list(map(top_share, raw))
    else:
        smooth = [_mean_gradient(model, x, labels, ball=ball, seed=seed) for model in (full, small)]
    lengths = [
        float(gradient.flatten(1).norm(dim=1).median())
        / max(float(_margin(model, x, labels).median()), _SMALL)
        for model, gradient in zip((full, small), raw, strict=True)
    ]
    lost = [_lost(model, x, labels, ball=ball, seed=seed) for model in (full, small)]
    return GradientSigns(
        lengths[1] / max(lengths[0], _SMALL),
        shares[1],
        shares[0],
        _cosine(*raw),
        _cosine(*smooth),
        lost[1] - lost[0],
    )


def top_share(gradient: Tensor) -> float:
    """Return the share of energy in the highest band of frequencies, mean over images, in [0, 1].

    Args:
        gradient: float (n, channels, height, width).
    """
    energy = torch.fft.fft2(gradient.double()).abs().square().sum(dim=1)
    across = torch.fft.fftfreq(gradient.shape[3]).abs()
    down = torch.fft.fftfreq(gradient.shape[2]).abs()
    high = torch.maximum(down[:, None], across[None, :]) > TOP_BAND
    share = energy[:, high].sum(dim=1) / energy.flatten(1).sum(dim=1).clamp(min=_SMALL)
    return float(share.mean())


def _gradient(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    with craft_context(model, x) as (source, device):
        aim = Aim(labels.to(device), loss="margin")
        return input_gradient(source, x.to(device), aim).cpu()


def _mean_gradient(model: nn.Module, x: Tensor, labels: Tensor, *, ball: Ball, seed: int) -> Tensor:
    draw = generator(seed, "signs", "smoothing")
    total = torch.zeros_like(x)
    with craft_context(model, x) as (source, device):
        aim, points = Aim(labels.to(device), loss="margin"), x.to(device)
        for _ in range(SMOOTHING_SAMPLES):
            around = torch.randn(x.shape, generator=draw)

            def answered(p: Tensor, around: Tensor = around) -> Tensor:
                return source(noisy(p, around, SMOOTHING_NOISE, ball=ball))

            total = total + input_gradient(answered, points, aim).to(total)
    return total


def _margin(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    nothing = torch.zeros(len(x), dtype=torch.int64)
    logits = predict(model, Rows(x, nothing, nothing)).logits
    return -Aim(labels, loss="margin").value(logits)


def _lost(model: nn.Module, x: Tensor, labels: Tensor, *, ball: Ball, seed: int) -> float:
    """Return the share of rows on which a model no longer names the label under small noise."""
    around = torch.randn(x.shape, generator=generator(seed, "signs", "noise"))
    points = noisy(x, around, SMALL_NOISE, ball=ball)
    return float((_margin(model, points, labels) <= 0).double().mean())


def _cosine(first: Tensor, second: Tensor) -> float:
    a, b = (t.double().flatten(1) for t in (first, second))
    a, b = (t / t.abs().amax(dim=1, keepdim=True).clamp(min=_SMALL) for t in (a, b))
    return float(cosine_similarity(a, b, dim=1).mean())
