"""Made-up audits: outputs of models whose leak is known, with and without reference models.

Every function draws one instance from a generator. `leaking` and `leaking_beside_references` make
models that an auditor must not pass; `sound` makes models whose audit must be judged, whatever the
verdict says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

Arrays: TypeAlias = dict[str, Any]
Draw: TypeAlias = np.random.Generator
GROUPS = ("member", "nonmember")


def labels_of(draw: Draw, classes: int, rows: int, *, skewed: bool) -> NDArray[np.int64]:
    """Return labels: every class about equally often, or in shares that fall off."""
    shares = draw.dirichlet(np.full(classes, 2.0)) if skewed else np.full(classes, 1 / classes)
    return draw.choice(classes, rows, p=shares).astype(np.int64)


def logits_of(
    draw: Draw, labels: NDArray[np.int64], classes: int, skill: float, lift: float
) -> Any:
    """Return logits of a model with some skill, calibrated but for the lift of its members."""
    z = draw.normal(size=(len(labels), classes))
    z[np.arange(len(labels)), labels] += skill
    # With unit noise and a margin `skill`, the true posterior is the softmax of `skill` times z.
    z *= skill
    z[np.arange(len(labels)), labels] += lift
    return z


def leaking(draw: Draw) -> Arrays:
    """Return outputs of a model that leaks: in how sure it is, or only in how often it is right."""
    return (surer_of_members if draw.random() < 0.5 else right_of_members)(draw)


def right_of_members(draw: Draw) -> Arrays:
    """Return outputs that are right of all members and of some other rows, all equally sure."""
    classes, rows = int(draw.choice([2, 3, 5, 10, 20])), draw.integers(400, 900, size=2)
    found: Arrays = {}
    for group, n, right in zip(GROUPS, rows, (1.0, draw.uniform(0.4, 0.6)), strict=True):
        y = labels_of(draw, classes, n, skewed=False)
        wrong = (y + draw.integers(1, classes, n)) % classes
        z = draw.normal(size=(n, classes))
        z[np.arange(n), np.where(draw.random(n) < right, y, wrong)] += 6
        found |= {f"{group}_logits": z.astype(np.float32), f"{group}_labels": y}
    return found


def surer_of_members(draw: Draw) -> Arrays:
    """Return outputs of a model whose members a single threshold finds (AUC of .75 and more)."""
    classes = int(draw.choice([2, 3, 5, 10, 20]))
    rows = draw.integers(400, 900, size=2)
    skill = draw.uniform(1.2, 2.0)
    lift = draw.uniform(4.0, 7.0)
    found: Arrays = {}
    for group, n in zip(GROUPS, rows, strict=True):
        y = labels_of(draw, classes, n, skewed=bool(draw.random() < 0.3))
        z = logits_of(draw, y, classes, skill, lift if group == "member" else 0.0)
        found |= {f"{group}_logits": z.astype(np.float32), f"{group}_labels": y}
    return found


def leaking_beside_references(draw: Draw, *, leak: float = 0.8) -> Arrays:
    """Return outputs whose leak shows only beside models that did not see the row."""
    classes, models = int(draw.choice([3, 5, 10])), int(draw.choice([8, 12, 16]))
    n, found = int(draw.integers(500, 900)), {}
    for group in GROUPS:
        y = draw.integers(0, classes, n)
        seen = draw.random((models, n)).argsort(axis=0) < models // 2
        z = draw.normal(size=(models + 1, n, classes)) * 0.3
        own = np.full((1, n), group == "member")
        hard = draw.normal(scale=4.0, size=n)
        z[:, np.arange(n), y] += hard + 1.0 + leak * np.concatenate([seen, own])
        z = z.astype(np.float32)
        found |= {
            f"{group}_logits": z[-1],
            f"{group}_labels": y,
            f"{group}_reference_logits": z[:-1],
            f"{group}_reference_seen": seen,
        }
    return found


def sound(draw: Draw) -> Arrays:
    """Return outputs of a model that was wired rightly: any skill, leak, balance and sureness."""
    classes = int(draw.choice([2, 2, 3, 5, 10, 30, 100]))
    rows = [int(n) for n in np.exp(draw.uniform(np.log(120), np.log(1500), size=2))]
    skill, lift = draw.uniform(0.5, 3.0), float(draw.choice([0.0, 0.0, 0.5, 2.0, 5.0]))
    skewed = bool(draw.random() < 0.4)
    shares = draw.dirichlet(np.full(classes, 2.0)) if skewed else np.full(classes, 1 / classes)
    # A model that is less sure than it should be is usual after smoothing or distillation.
    softened = float(draw.choice([1.0, 1.0, 0.5, 0.1]))
    found: Arrays = {}
    for group, n in zip(GROUPS, rows, strict=True):
        y = draw.choice(classes, n, p=shares).astype(np.int64)
        z = softened * logits_of(draw, y, classes, skill, lift if group == "member" else 0.0)
        found |= {f"{group}_logits": z.astype(np.float32), f"{group}_labels": y}
    return found


def rare_positives(draw: Draw) -> Arrays:
    """Return outputs of a weak model of a table with 2 to 12 % positives: it rarely says "yes"."""
    share, found = draw.uniform(0.02, 0.12), {}
    for group in GROUPS:
        n = int(draw.integers(500, 2000))
        y = (draw.random(n) < share).astype(np.int64)
        odds = np.log(share / (1 - share)) + draw.normal(size=n) + 1.0 * y
        z = np.stack([np.zeros(n), odds], axis=1)
        found |= {f"{group}_logits": z.astype(np.float32), f"{group}_labels": y}
    return found


def sound_beside_references(draw: Draw) -> Arrays:
    """Return outputs with references that belong to the rows; half of the models leak nothing."""
    return leaking_beside_references(draw, leak=float(draw.choice([0.0, 0.0, 0.4, 0.8])))


def constant(draw: Draw) -> Arrays:
    """Return a model that says the same of every row."""
    found = sound(draw)
    said = found["member_logits"][0]
    return found | {
        f"{g}_logits": np.repeat(said[None], len(found[f"{g}_labels"]), axis=0) for g in GROUPS
    }


SOUND: dict[str, Callable[[Draw], Arrays]] = {
    "ordinary": sound,
    "rare positives": rare_positives,
    "beside references": sound_beside_references,
    "constant": constant,
}


def probabilities(arrays: Arrays) -> Arrays:
    """Return the same outputs as float32 probabilities, the references' too."""
    return arrays | {
        name: softmax(values.astype(np.float64), axis=-1).astype(np.float32)
        for name, values in arrays.items()
        if name.endswith("logits")
    }


def _each_logits(change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    def changed(arrays: Arrays) -> Arrays:
        return arrays | {n: change(v) for n, v in arrays.items() if n.endswith("logits")}

    return changed


def _summed(p: Any) -> Any:
    """Return probabilities whose last entry is what the others leave, in float32: some below 0."""
    wide = p.astype(np.float32).copy()
    wide[..., -1] = np.float32(1) - wide[..., :-1].sum(axis=-1, dtype=np.float32)
    return wide


FORMS: dict[str, Callable[[Arrays], Arrays]] = {
    "float32 logits": lambda a: a,
    "float64 logits": _each_logits(lambda z: z.astype(np.float64)),
    "log-probabilities": _each_logits(lambda z: log_softmax(z.astype(np.float64), axis=-1)),
    "logits of one decimal": _each_logits(lambda z: np.round(z, 1)),
    "logits in steps of a quarter": _each_logits(
        lambda z: (np.round(z * 4) / 4).astype(np.float32)
    ),
    "float32 probabilities": probabilities,
    "float64 probabilities": _each_logits(lambda z: softmax(z.astype(np.float64), axis=-1)),
    "float16 probabilities": lambda a: _each_logits(lambda p: p.astype(np.float16))(
        probabilities(a)
    ),
    "probabilities of three decimals": lambda a: _each_logits(lambda p: np.round(p, 3))(
        probabilities(a)
    ),
    "probabilities of two decimals": lambda a: _each_logits(lambda p: np.round(p, 2))(
        probabilities(a)
    ),
    "percent": lambda a: _each_logits(lambda p: 100 * p)(probabilities(a)),
    "one minus the others": lambda a: _each_logits(_summed)(probabilities(a)),
    "a few bits above": lambda a: _each_logits(lambda p: p * np.float32(1 + 3e-7))(
        probabilities(a)
    ),
}
"""Ways in which programs write the same outputs; an audit must read every one of them."""
