"""`Similarity`: how alike two models are in their outputs, their features and input gradients.

An attack that crafts inputs on one model to fool the other succeeds where the input gradients of
both point in the same direction, so their cosine tells how well attacks transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, log_softmax

from safecompress.attacks.transfer import Aim, gives_gradients, input_gradient
from safecompress.attacks.transfer.craft import craft_context
from safecompress.errors import ModelError, UndecidableError
from safecompress.models.adapt import call
from safecompress.randomness import derive
from safecompress.stats import (
    Interval,
    bootstrap_interval,
    clopper_pearson,
    jackknife_interval,
)
from safecompress.train.features import call_with_features
from safecompress.train.predict import mode

_BATCH = 256
_FEWEST = 3


@dataclass(frozen=True)
class Similarity:
    """How alike two models are on some rows, each figure with its interval.

    Args:
        agreement: share of rows that both put into the same class, in [0, 1]; Clopper–Pearson.
        divergence: mean Jensen–Shannon divergence of their probabilities, in [0, log 2]; 0 where
            they say the same; bootstrap.
        features: linear CKA of their last features, in [0, 1]; 1 where these are the same up to
            rotation and scale; jackknife. None where the features of either cannot be read.
        gradients: mean cosine of their losses' input gradients, in [−1, 1]; bootstrap. None where
            either has no input gradients.
        rows: number of rows.
    """

    agreement: Interval
    divergence: Interval
    features: Interval | None
    gradients: Interval | None
    rows: int


@dataclass(frozen=True)
class Probe:
    """The outputs, features and input gradients of one model on some rows, on the CPU.

    Args:
        logits: float32 (n, classes).
        features: inputs of the last weight layer, float32 (n, d); None where they were not read.
        gradients: of the cross-entropy with respect to the inputs, float32 (n, …); None where they
            were not computed.
    """

    logits: Tensor
    features: Tensor | None = None
    gradients: Tensor | None = None

    @classmethod
    def by(
        cls,
        model: nn.Module,
        x: Tensor,
        labels: Tensor,
        *,
        batch_size: int = _BATCH,
        whole: bool = True,
    ) -> Probe:
        """Run a model on rows, in evaluation mode and fp32, and leave the model unchanged.

        Args:
            model: takes the rows as they are; wrap it in `UnitInputModel` for rows in units.
            x: float (n, …).
            labels: int64 (n,).
            batch_size: rows in one forward pass.
            whole: whether features and gradients are required; otherwise those that the model
                cannot give are None, such as both of an ONNX graph.

        Raises:
            ModelError: when they are required and the model has no weight layer, or no gradient
                reaches its input.
        """
        features = whole or _shows_features(model, x)
        gradients = whole or gives_gradients(model, x)
        parts = [
            _block(model, x[index], labels[index], features=features, gradients=gradients)
            for index in torch.split(torch.arange(len(x)), batch_size)
        ]
        logits = torch.cat([part.logits for part in parts])
        return cls(
            logits,
            torch.cat([p.features for p in parts if p.features is not None]) if features else None,
            torch.cat([p.gradients for p in parts if p.gradients is not None])
            if gradients
            else None,
        )


def similarity(
    first: nn.Module, second: nn.Module, x: Tensor, labels: Tensor, *, level: float, seed: int
) -> Similarity:
    """Return how alike two models are.

    Args:
        first: a model, for example the dense one; takes `x`.
        second: another model that takes the same inputs and has the same classes.
        x: rows, float (n, …), at least 3.
        labels: int64 (n,).
        level: confidence level of the intervals, in (0, 1).
        seed: seed of the resampling.

    Raises:
        ModelError: when they have not the same classes, or a model has no features or gradients.
        UndecidableError: with fewer than 3 rows.
    """
    if len(x) < _FEWEST:
        raise UndecidableError(f"similarity: {len(x)} rows; expected at least {_FEWEST}.")
    return compared(Probe.by(first, x, labels), Probe.by(second, x, labels), level=level, seed=seed)


def compared(first: Probe, second: Probe, *, level: float, seed: int) -> Similarity:
    """Return how alike two models are, from their probes on the same rows.

    Args:
        first: one model's probe.
        second: the other model's probe, with rows in the same order.
        level: confidence level of the intervals, in (0, 1).
        seed: seed of the resampling.

    Raises:
        ModelError: when their logits differ in shape.
        UndecidableError: when one model's features are the same for all rows.
    """
    if first.logits.shape != second.logits.shape:
        raise ModelError(
            f"similarity: logits of shape {tuple(first.logits.shape)} and "
            f"{tuple(second.logits.shape)}; expected two models of the same classes."
        )
    n = len(first.logits)
    same = first.logits.argmax(1) == second.logits.argmax(1)
    features = gradients = None
    if first.features is not None and second.features is not None:
        features = linear_cka(first.features, second.features, level=level)
    if first.gradients is not None and second.gradients is not None:
        cosines = gradient_cosines(first.gradients, second.gradients)
        at = derive(seed, "gradients")
        gradients = _mean(cosines, level=level, seed=at, edges=(-1, 1))
    diverging = jensen_shannon(first.logits, second.logits)
    return Similarity(
        agreement=clopper_pearson(int(same.sum()), n, level=level),
        divergence=_mean(diverging, level=level, seed=derive(seed, "js"), edges=(0, log(2))),
        features=features,
        gradients=gradients,
        rows=n,
    )


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Return the Jensen–Shannon divergence of the softmax of two models' logits, float64 (n,).

    The unit is the nat; values lie in [0, log 2].

    Args:
        first: logits of one model, (n, classes).
        second: logits of the other for the same rows, (n, classes).

    Reference: Lin, IEEE Transactions on Information Theory 1991.
    """
    p, q = (log_softmax(z.double(), dim=1) for z in (first, second))
    middle = torch.logaddexp(p, q) - log(2)
    halves = [(t.exp() * (t - middle)).sum(dim=1) for t in (p, q)]
    return ((halves[0] + halves[1]) / 2).clamp(0, log(2))


def gradient_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each row's two gradients, float64 (n,); 0 where one of them is zero.

    Args:
        first: input gradients of one model, (n, …).
        second: those of the other for the same rows, of the same shape.
    """
    a, b = (_directed(t) for t in (first, second))
    return cosine_similarity(a, b, dim=1).clamp(-1, 1)


def _directed(t: Tensor) -> Tensor:
    """Scale each row's gradient to a largest entry of 1.

    Gradients of a confident model are as small as 1e-40, and their squares would underflow.
    """
    flat = t.double().flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    return flat / torch.where(largest > 0, largest, torch.ones_like(largest))


def linear_cka(first: Tensor, second: Tensor, *, level: float) -> Interval:
    """Return the linear centered kernel alignment of two groups of features, in [0, 1].

    Args:
        first: (n, d), features of one model.
        second: (n, e), features of the other for the same rows.
        level: confidence level of the jackknife interval.

    Raises:
        UndecidableError: when one model's features are the same for all rows.

    Reference: Kornblith et al., ICML 2019, section 3.
    """
    x, y = (t.double() - t.double().mean(dim=0) for t in (first, second))
    n = len(x)
    pairs = [(x, y), (x, x), (y, y)]
    products, without = zip(*(_products(a, b, n) for a, b in pairs), strict=True)
    if min(float(products[1]), float(products[2])) <= 0:
        raise UndecidableError("similarity: a model's last features are the same for all rows.")
    value = float(products[0] / (products[1] * products[2]).sqrt())
    left_out = without[0] / (without[1] * without[2]).sqrt().clamp(min=1e-300)
    return jackknife_interval(min(value, 1.0), left_out.numpy(), level=level, edges=(0, 1))


def _products(a: Tensor, b: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return ‖aᵀb‖² of centered a and b, and the (n,) values with one row left out.

    The remaining rows are centered anew.

    Without row i, aᵀb becomes aᵀb − n / (n − 1) · aᵢbᵢᵀ.
    """
    cross = a.T @ b
    whole = cross.square().sum()
    share = n / (n - 1)
    through = ((a @ cross) * b).sum(dim=1)
    sizes = a.square().sum(dim=1) * b.square().sum(dim=1)
    return whole, (whole - 2 * share * through + share**2 * sizes).clamp(min=0)


def _mean(values: Tensor, *, level: float, seed: int, edges: tuple[float, float]) -> Interval:
    return bootstrap_interval(
        lambda samples: np.asarray(samples.mean(axis=(1, 2))),
        values.numpy(),
        level=level,
        seed=seed,
        edges=edges,
    )


def _shows_features(model: nn.Module, x: Tensor) -> bool:
    """Return whether a model calls a weight layer whose inputs can be read."""
    parameter = next(model.parameters(), None)
    device = x.device if parameter is None else parameter.device
    try:
        with mode(model, training=False), torch.no_grad():
            call_with_features(model, x[:1].to(device))
    except ModelError:
        return False
    return True


def _block(
    model: nn.Module, x: Tensor, labels: Tensor, *, features: bool, gradients: bool
) -> Probe:
    with craft_context(model, x) as (_, device):
        points = x.to(device).float()
        outputs: list[Tensor] = []

        def logits_of(given: Tensor) -> Tensor:
            tensors = call_with_features(model, given) if features else (call(model, given),)
            outputs[:] = [t.detach().float().cpu() for t in tensors]
            return tensors[0]

        gradient = None
        try:
            if gradients:
                gradient = input_gradient(logits_of, points, Aim(labels.to(device))).cpu()
            else:
                with torch.no_grad():
                    logits_of(points)
        except RuntimeError as error:
            raise ModelError(
                f"{type(model).__name__}: no gradient reaches its input ({error}); agreement and "
                "divergence can still be measured."
            ) from error
    return Probe(outputs[0], outputs[1] if features else None, gradient)
