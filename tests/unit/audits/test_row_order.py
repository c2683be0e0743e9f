"""Answers whose rows stand in another order within a class are told; those in order never are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from safecompress import audit_jointly
from safecompress.audits.row_order import agreement, in_another_order
from safecompress.errors import DataError
from safecompress.protocols import Outputs


def two_models(seed: int, *, n: int, classes: int, shared: float) -> tuple[Outputs, Outputs]:
    """Return two models whose logits share a part of their spread, as models of one data set do."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=draw)
    hard = torch.randn(n, classes, generator=draw)
    found = []
    for _ in range(2):
        own = torch.randn(n, classes, generator=draw)
        logits = shared**0.5 * hard + (1 - shared) ** 0.5 * own
        logits[torch.arange(n), labels] += 1.5
        found.append(Outputs(logits, labels, torch.arange(n)))
    return found[0], found[1]


def within_classes(outputs: Outputs, seed: int) -> Outputs:
    draw, labels = np.random.default_rng(seed), outputs.labels.numpy()
    order = np.arange(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order[rows] = draw.permutation(rows)
    return Outputs(outputs.logits[torch.from_numpy(order)], outputs.labels, outputs.ids)


@pytest.mark.parametrize("classes", [2, 10, 60])
def test_rows_in_another_order_are_told_and_rows_in_order_are_not(classes: int) -> None:
    wrong = missed = 0
    for seed in range(60):
        shared = (0.25, 0.5, 0.9)[seed % 3]
        first, second = two_models(seed, n=1200, classes=classes, shared=shared)
        wrong += in_another_order(first, second)
        missed += not in_another_order(first, within_classes(second, seed))
    assert wrong == 0
    assert missed <= 1


def test_files_that_part_in_opposite_directions_are_of_the_same_rows() -> None:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (1500,), generator=draw)
    noise = torch.randn(1500, generator=draw)
    files = []
    for sign in (1.0, -1.0):
        logits = 0.3 * torch.randn(1500, 3, generator=draw)
        logits[torch.arange(1500), labels] += 3 + sign * noise
        files.append(Outputs(logits, labels, torch.arange(1500)))
    assert agreement(*files) < -0.5
    assert not in_another_order(*files)
    assert in_another_order(files[0], within_classes(files[1], 0))


def test_nothing_is_said_of_few_rows_or_of_models_that_say_nothing() -> None:
    few = two_models(0, n=390, classes=3, shared=0.5)
    assert agreement(few[0], within_classes(few[1], 0)) is None
    first, second = two_models(0, n=1500, classes=3, shared=0.5)
    constant = Outputs(torch.zeros(1500, 3), first.labels, first.ids)
    guessing = Outputs(torch.randn(1500, 3), first.labels, first.ids)
    coarse = Outputs((second.logits > 1).float() * 3, first.labels, first.ids)
    for other in (constant, guessing, coarse):
        assert not in_another_order(first, other)


def test_a_set_whose_rows_are_in_another_order_is_refused(tmp_path) -> None:
    sides = {
        s: two_models(i, n=1200, classes=4, shared=0.8)
        for i, s in enumerate(("member", "nonmember"))
    }
    for name, place, shuffled in (("a", 0, False), ("b", 1, False), ("c", 1, True)):
        arrays = {}
        for side, models in sides.items():
            said = within_classes(models[place], 5) if shuffled else models[place]
            arrays |= {f"{side}_logits": said.logits.numpy(), f"{side}_labels": said.labels.numpy()}
        np.savez(tmp_path / f"{name}.npz", **arrays)
    audit_jointly([tmp_path / "a.npz", tmp_path / "b.npz"], out=tmp_path / "set")
    with pytest.raises(DataError, match="another order among rows of one label"):
        audit_jointly([tmp_path / "a.npz", tmp_path / "c.npz"], out=tmp_path / "other")
