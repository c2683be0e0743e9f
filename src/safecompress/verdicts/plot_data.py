"""`figures_document`: the numbers behind the report's curves, histograms, layers and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.checks import Auc, CheckResult, Subject
from safecompress.errors import SafeCompressError
from safecompress.protocols import Attack
from safecompress.registry.identity import require_distinct_names
from safecompress.run.model_file import StoredModel
from safecompress.stats import roc_curve


def figures_document(
    subjects: Mapping[str, Subject],
    checks: Sequence[CheckResult],
    *,
    attacks: Sequence[Attack],
    layers: Sequence[Mapping[str, Any]] = (),
    pair: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON document of `figures.json`.

    Args:
        subjects: the judged models by name.
        checks: the results of all checks, for the seconds that each took.
        attacks: the attacks whose curves are drawn; their names must differ.
        layers: the result of `layers_of` for the judged model; empty where only its outputs are
            known.
        pair: the result of `pair_figures`; None without a pair.
    """
    return {
        "roc": {name: _rocs(s, attacks) for name, s in subjects.items()},
        "loss": _loss_histograms(subjects),
        "layers": list(layers),
        "costs": [{"name": c.name, "stage": "verdict", "seconds": c.seconds} for c in checks],
        **(pair or {}),
    }


def _rocs(subject: Subject, attacks: Sequence[Attack]) -> dict[str, Any]:
    require_distinct_names(attacks, where="figures", kind="attacks")
    rocs = {}
    for name, attack in {attack.name: attack for attack in attacks}.items():
        try:
            result = subject.attacked_by(attack)
        except SafeCompressError:
            # The check of the attack reports the error; there is no curve to draw.
            continue
        curve = roc_curve(result.scores.members, result.scores.nonmembers)
        keep = _thinned(curve.fpr)
        rocs[name] = {
            "fpr": [round(float(v), 6) for v in curve.fpr[keep]],
            "tpr": [round(float(v), 6) for v in curve.tpr[keep]],
            "auc": Auc().value(result),
        }
    return rocs


def _thinned(fpr: NDArray[np.float64], *, limit: int = 240) -> NDArray[np.intp]:
    """Return indices of at most about `limit` points, evenly spread on the log-FPR axis."""
    if len(fpr) <= limit:
        return np.arange(len(fpr))
    grid = np.concatenate([[0.0], np.geomspace(max(fpr[fpr > 0].min(), 1e-6), 1.0, limit)])
    index = np.searchsorted(fpr, grid, side="right") - 1
    return np.unique(np.concatenate([[0], np.clip(index, 0, len(fpr) - 1), [len(fpr) - 1]]))


def _loss_histograms(subjects: Mapping[str, Subject]) -> dict[str, Any]:
    """Return counts of log10 loss on edges shared by all models."""
    losses = {
        name: s.outputs.map(lambda o: np.log10(np.maximum(o.losses.numpy(), 1e-8)))
        for name, s in subjects.items()
    }
    all_losses = np.concatenate([v for p in losses.values() for v in (p.members, p.nonmembers)])
    edges = np.linspace(all_losses.min() - 1e-9, all_losses.max() + 1e-9, 41)
    return {
        name: {
            "edges": [round(float(e), 4) for e in edges],
            "members": np.histogram(p.members, edges)[0].tolist(),
            "nonmembers": np.histogram(p.nonmembers, edges)[0].tolist(),
            "unit": "log10 of the cross-entropy in nats",
        }
        for name, p in losses.items()
    }


def layers_of(model: StoredModel) -> list[dict[str, Any]]:
    """Return per sparse layer its shape, counts, density and coverage.

    Args:
        model: a stored model; coverage is the share of weights that ever existed, null where the
            run did not record it.
    """
    coverage = model.metadata.get("coverage", {})
    return [
        {
            "name": name,
            "shape": list(mask.shape),
            "total": mask.numel(),
            "nonzeros": int(mask.sum()),
            "density": float(mask.float().mean()),
            "coverage": coverage.get(name),
        }
        for name, mask in model.topology.masks.items()
    ]
