"""Gradual pruning: the published densities, the budget exactly, nothing that comes back."""

from __future__ import annotations

import pytest
import torch

from safecompress.candidate import Candidate
from safecompress.config import SparseConfig
from safecompress.defenses import Gradual, Scope, support
from safecompress.errors import ConfigError
from safecompress.files import read_tensors, write_tensors
from tests.defended import STEPS, trainer

BOTH = pytest.mark.parametrize("scope", ["global", "layer"])


def settings(cuts: int = 8) -> SparseConfig:
    return SparseConfig(density=0.1, gradual={"cuts": cuts})


def pieces(sparse: SparseConfig, *lengths: int, scope: Scope = "global") -> list[Candidate]:
    """Return the candidate after each of some pieces of training."""
    made = trainer(0, [Gradual(sparse, scope=scope)])
    found = [made.start()]
    for steps in lengths:
        found.append(made.train(found[-1], steps))
    return found


def test_densities_follow_the_published_cubic() -> None:
    gradual = Gradual(settings(cuts=4))
    expected = [1.0, 0.1 + 0.9 * 27 / 64, 0.1 + 0.9 / 8, 0.1 + 0.9 / 64, 0.1]
    assert [gradual.density_after(k) for k in range(5)] == pytest.approx(expected)


@BOTH
def test_every_cut_keeps_its_budget_and_what_is_gone_stays_gone(scope) -> None:
    sparse = settings()
    before = None
    for cuts, candidate in enumerate(pieces(sparse, *[STEPS // 8] * 8, scope=scope)):
        kept = support(candidate.defenses["gradual"])
        assert kept.nonzeros == round(Gradual(sparse).density_after(cuts) * kept.total)
        for name, mask in kept.masks.items():
            assert not candidate.weights[name][~mask].any()
            if before is not None:
                assert not (mask & ~before.masks[name]).any()
        before = kept


def test_between_cuts_nothing_comes_back() -> None:
    for candidate in pieces(settings(), *[7] * 11):
        for name, mask in support(candidate.defenses["gradual"]).masks.items():
            assert not candidate.weights[name][~mask].any()


def test_stopping_and_resuming_changes_no_bit(tmp_path) -> None:
    whole = pieces(settings(), STEPS)[-1]
    part = pieces(settings(), 37)[-1]
    write_tensors(tmp_path / "part.safetensors", part.tensors())
    back = Candidate.from_tensors(read_tensors(tmp_path / "part.safetensors"), part.settings())
    resumed = trainer(0, [Gradual(settings())]).train(back, STEPS - 37)
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in whole.tensors().items())


def test_one_cut_at_the_end_is_magnitude_pruning() -> None:
    bare = trainer(0)
    dense = bare.train(bare.start(), STEPS)
    cut = pieces(settings(cuts=1), STEPS)[-1]
    weights = torch.cat([dense.weights[n].abs().flatten() for n in cut.topology.masks])
    threshold = weights.sort(descending=True).values[round(0.1 * len(weights)) - 1]
    for name, mask in support(cut.defenses["gradual"]).masks.items():
        assert torch.equal(mask, dense.weights[name].abs() >= threshold)


def test_more_cuts_than_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"sparse\.gradual\.cuts is 500"):
        trainer(0, [Gradual(settings(cuts=500))])
