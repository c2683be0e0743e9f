"""Masks that let signals pass every layer, whatever the scales of its weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safecompress.sparse import initialize
from safecompress.sparse.starved import starved_layers
from safecompress.topology import Topology, embedding_tables, maskable_parameters


class Recurrent(nn.Module):
    """A classifier of token sequences, whose table is far larger in scale than its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1500, 32)
        self.cell = nn.GRU(32, 32, batch_first=True)
        self.out = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.cell(self.table(x))[0][:, -1])


def masks(module: nn.Module, density: float) -> Topology:
    return initialize(
        module, density=density, distribution="erk", method="magnitude-global", seed=0
    )


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_an_embedding_of_large_entries_takes_no_weights_from_other_layers(density: float) -> None:
    torch.manual_seed(0)
    module = Recurrent()
    topology = masks(module, density)
    counts = topology.layer_counts()
    total = sum(p.numel() for p in maskable_parameters(module).values())
    assert sum(counts.values()) == round(density * total)
    assert counts["table.weight"] == round(density * 1500 * 32)
    for name in ("cell.weight_ih_l0", "cell.weight_hh_l0"):
        assert counts[name] > 0.5 * density * 3072
    assert starved_layers(topology, embedding_tables(module)) == ()
    assert embedding_tables(module) == {"table.weight"}


def test_other_rows_still_change_the_answer_of_a_pruned_recurrent_network() -> None:
    torch.manual_seed(0)
    module = Recurrent()
    masks(module, 0.1).apply_(module)
    answers = module(torch.randint(0, 1500, (64, 12)))
    assert float(answers.detach().std(dim=0).min()) > 1e-4


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([(), (3, 3)])),
        min_size=1,
        max_size=5,
    ),
    scales=st.lists(st.floats(-6, 6), min_size=5, max_size=5),
    density=st.floats(0.01, 1.0),
    seed=st.integers(0, 99),
)
def test_counts_are_exact_and_floors_are_kept(
    shapes: list[tuple[int, int, tuple[int, ...]]],
    scales: list[float],
    density: float,
    seed: int,
) -> None:
    draw = torch.Generator().manual_seed(seed)
    weights = {
        f"w{i}": torch.randn(a, b, *kernel, generator=draw) * 10 ** scales[i]
        for i, (a, b, kernel) in enumerate(shapes)
    }
    total = sum(t.numel() for t in weights.values())
    if round(density * total) < len(weights):
        return
    counts = initialize(
        weights, density=density, distribution="erk", method="magnitude-global", seed=0
    ).layer_counts()
    assert sum(counts.values()) == round(density * total)
    floors = {
        name: max(1, min(math.floor(density * t.numel() / 4), t.shape[0] + t.shape[1]))
        for name, t in weights.items()
    }
    assert all(count >= 1 for count in counts.values())
    if sum(floors.values()) <= round(density * total):
        assert all(counts[name] >= floors[name] for name in weights)


def test_layers_of_alike_scale_are_cut_by_magnitude_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(60, 50, generator=draw), "b": torch.randn(30, 60, generator=draw)}
    found = initialize(
        weights, density=0.2, distribution="erk", method="magnitude-global", seed=0
    ).masks
    everything = torch.cat([w.abs().flatten() for w in weights.values()])
    cut = everything.topk(round(0.2 * len(everything))).values.min()
    for name, weight in weights.items():
        assert torch.equal(found[name], weight.abs() >= cut)


def test_a_starved_layer_is_named_with_its_numbers() -> None:
    mask = torch.zeros(96, 32, dtype=torch.bool)
    mask[3, 5] = True
    topology = Topology({"cell": mask, "table": torch.zeros(50, 4, dtype=torch.bool)})
    (sentence,) = starved_layers(topology, frozenset({"table"}))
    assert sentence == (
        "layer 'cell' keeps 1 of 3,072 weights, and 95 of its 96 outputs have none, so hardly any "
        "signal passes it"
    )
