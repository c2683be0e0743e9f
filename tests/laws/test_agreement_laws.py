"""What steering rows show of a file, and which layers go back for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

from safecompress.export import ExportContext, Format
from safecompress.export.agreement import SURE, Agreement
from safecompress.export.finer import finer, moves
from safecompress.export.format import FP32, INT8, INT8_WEIGHTS
from safecompress.export.packing import quantize
from safecompress.topology import Topology
from tests.support import count


@pytest.mark.parametrize("rows", [299, 472, 1000, 2000, 9999])
@pytest.mark.parametrize("least", [0.9, 0.99])
def test_a_file_that_agrees_too_seldom_is_seldom_let_through(rows: int, least: float) -> None:
    shown = [n for n in range(rows // 2, rows + 1) if Agreement(n, rows).shows(least)]
    let_through = float(binom.sf(min(shown) - 1, rows, least - 1e-9))
    assert let_through <= 1 - SURE + 1e-6
    # One row less would let it through too often; the rule wastes nothing.
    assert float(binom.sf(min(shown) - 2, rows, least)) > 1 - SURE


def test_of_few_rows_all_must_agree() -> None:
    assert Agreement(30, 30).shows(0.99)
    assert not Agreement(29, 30).shows(0.99)
    assert Agreement(0, 0).shows(0.99)
    assert Agreement(0, 30).shows(0)


@dataclass(frozen=True)
class Noisy(Format):
    """Every layer adds its own error to the logits, smaller in finer number formats."""

    name, summary, suffixes = "noisy", "adds errors", (".noisy",)
    finer = (INT8, INT8_WEIGHTS, FP32)
    errors: tuple[tuple[float, float, float], ...] = ()

    def layers(self, context: ExportContext) -> Mapping[str, str]:
        del context
        return {str(number): f"layer{number}" for number in range(len(self.errors))}

    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        del facts
        return json.dumps(dict(context.kept)).encode()

    def open(self, path: Path, context: ExportContext) -> Any:
        total = self.error(json.loads(path.read_text()))
        return lambda x: torch.full((len(x), 2), total)

    def verify(self, path: Path) -> dict[str, Any]:
        raise NotImplementedError

    def error(self, kept: Mapping[str, str]) -> float:
        at = {name: self.finer.index(kind) + 1 for name, kind in kept.items()}
        return sum((*e, 0.0)[at.get(str(n), 0)] for n, e in enumerate(self.errors))


def drawn(seed: int) -> tuple[Noisy, ExportContext]:
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(1, 7))
    drawn = np.sort(rng.exponential(size=(layers, 3)), axis=1)[:, ::-1]
    module = nn.Linear(2, 2)
    held = ExportContext.of(module, Topology.dense(module), torch.randn(4, 2))
    return Noisy(tuple(map(tuple, drawn.tolist()))), held


def test_as_few_moves_as_are_enough_are_found_in_few_tries() -> None:
    for seed in range(count(4, 1000)):
        form, held = drawn(seed)
        bound = form.error({}) * float(np.random.default_rng(seed).uniform(0.02, 1.1))
        tried: list[Mapping[str, str]] = []

        def good(context: ExportContext, tried: list[Mapping[str, str]] = tried) -> bool:
            tried.append(context.kept)
            return form.error(context.kept) <= bound  # noqa: B023 - called in this turn

        found = finer(form, held, good).kept
        path = moves(form, held)
        after = [{m.layer: m.to for m in path[:made]} for made in range(len(path) + 1)]
        enough = next(kept for kept in after if form.error(kept) <= bound)
        assert found == enough, seed
        assert after[-1] == dict.fromkeys(form.layers(held), FP32)
        assert len(tried) <= 2 + ceil(log2(len(path) + 1))


def test_no_sum_of_two_products_leaves_sixteen_bits() -> None:
    """Processors without int8 instructions cut such sums off."""
    for seed in range(count(50, 2000)):
        rng = np.random.default_rng(seed)
        shape = (int(rng.integers(1, 9)), *rng.integers(1, 6, size=int(rng.choice([1, 2, 3]))))
        weight = rng.standard_t(3, size=shape) * (rng.random(shape) < rng.choice([0.1, 1.0]))
        made, plain = (quantize(weight, "int8", multiplied=m) for m in (True, False))
        ordered = np.moveaxis(made.values, 1, -1).reshape(len(weight), -1).astype(int)
        first, second = ordered[:, ::2], np.zeros_like(ordered[:, ::2])
        second[:, : ordered.shape[1] // 2] = ordered[:, 1::2]
        for signed in (
            np.clip(first, 0, None) + np.clip(second, 0, None),
            np.clip(-first, 0, None) + np.clip(-second, 0, None),
        ):
            assert (255 * signed).max(initial=0) <= np.iinfo(np.int16).max
        assert (made.scale >= plain.scale).all()
        assert (made.scale <= 2 * plain.scale).all()
        assert ((made.values == 0) | (weight != 0)).all()
