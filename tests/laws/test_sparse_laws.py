"""Laws of sparse training: what every drop rule, grow rule, distribution and proposal keeps."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.errors import ConfigError
from safecompress.proposals import PROPOSALS, update
from safecompress.protocols import Proposal
from safecompress.sparse import DROP_RULES, GROW_RULES, DropRule, GrowRule, initialize, layer_counts
from safecompress.topology import Topology
from tests.sparse_candidates import (
    EXAMPLES,
    SHAPES,
    candidate,
    context,
    exchanges,
    noise,
    trained,
)
from tests.support import count

PAIRS = sorted(itertools.product(DROP_RULES.all(), GROW_RULES.all()))
DISTRIBUTIONS = ("uniform", "er", "erk")
METHODS = ("magnitude-global", "magnitude-layer", "scratch")
each_pair = pytest.mark.parametrize(("drop", "grow"), PAIRS)

sides = st.integers(1, 7)
layer_shapes = st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.just(3), st.just(3)))
nets = st.lists(layer_shapes, min_size=1, max_size=4).map(
    lambda shapes: {f"layer{i}.weight": shape for i, shape in enumerate(shapes)}
)
densities = st.floats(0.01, 1.0)
fractions = st.floats(1e-4, 0.999)
seeds = st.integers(0, 2**31)


def possible(shapes: Mapping[str, tuple[int, ...]], density: float) -> float:
    """Return the density, raised to where every layer can keep a weight."""
    total = sum(math.prod(s) for s in shapes.values())
    return max(density, min(1.0, len(shapes) / total))


def masks_equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


@each_pair
@settings(max_examples=count(12, 300))
@given(shapes=nets, density=densities, fraction=fractions, seed=seeds, stale=st.booleans())
def test_every_update_keeps_the_laws(drop, grow, shapes, density, fraction, seed, stale):
    parent = candidate(shapes, density=possible(shapes, density), seed=seed, stale=stale)
    before = {name: tensor.clone() for name, tensor in parent.tensors().items()}
    strategy = update(drop=drop, grow=grow, fraction=fraction)
    child = strategy(parent, context(parent, seed=seed))

    assert child.topology.layer_counts() == parent.topology.layer_counts()
    wanted = expected_exchanges(parent, fraction)
    found = {name: int(pair[0].sum()) for name, pair in exchanges(parent, child).items()}
    if DROP_RULES.build(drop, where="test").pooled:
        assert sum(found.values()) <= sum(wanted.values())
    else:
        assert found == wanted
    for name, (dropped, grown) in exchanges(parent, child).items():
        assert int(dropped.sum()) == int(grown.sum())
        assert_clean(parent, child, name)
        assert torch.equal(
            child.ever_active[name], parent.ever_active[name] | child.topology.masks[name]
        )
    assert child.lineage == parent.lineage
    assert child.step == parent.step
    assert all(torch.equal(tensor, before[name]) for name, tensor in parent.tensors().items())


def expected_exchanges(parent: Candidate, fraction: float) -> dict[str, int]:
    return {
        name: min(round(fraction * int(m.sum())), m.numel() - int(m.sum()))
        for name, m in parent.topology.masks.items()
    }


def assert_clean(parent: Candidate, child: Candidate, name: str) -> None:
    """What was kept is untouched; everything else, grown or missing, is zero with zero state."""
    kept = parent.topology.masks[name] & child.topology.masks[name]
    moments = (parent.optimizer[name]["exp_avg"], child.optimizer[name]["exp_avg"])
    for old, new in ((parent.weights[name], child.weights[name]), moments):
        assert torch.equal(new[kept], old[kept])
        assert not bool(new[~kept].any())
        assert new.dtype == old.dtype
    assert child.optimizer[name]["step"] == parent.optimizer[name]["step"]


@each_pair
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_floating_point_type_keeps_the_laws(drop, grow, dtype):
    parent = candidate(dtype=dtype)
    child = update(drop=drop, grow=grow)(parent, context(parent))
    assert child.topology.layer_counts() == parent.topology.layer_counts()
    assert not masks_equal(child.topology.masks, parent.topology.masks)
    for name in SHAPES:
        assert_clean(parent, child, name)


@each_pair
def test_a_hundred_updates_do_not_drift(drop, grow):
    shapes = {"conv.weight": (4, 3, 3, 3), "linear.weight": (5, 8)}
    parent = candidate(shapes)
    counts = parent.topology.layer_counts()
    strategy = update(drop=drop, grow=grow, fraction=0.5, fraction_end=0.01)
    for i in range(100):
        child = strategy(parent, context(parent, progress=i / 99, seed=i))
        masks = child.topology.masks
        assert child.topology.layer_counts() == counts
        parent = child.evolve(
            weights={n: noise(s, i, "trained", n) * masks[n] for n, s in shapes.items()}
        )


@each_pair
def test_ties_never_drop_or_grow_too_many(drop, grow):
    parent = candidate(density=0.4)
    ones = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    parent = trained(ones, parent.topology).evolve(moving_average=ones)
    situation = replace(context(parent), gradient=ones)
    child = update(drop=drop, grow=grow, fraction=0.25)(parent, situation)
    wanted = expected_exchanges(parent, 0.25)
    found = exchanges(parent, child)
    assert child.topology.layer_counts() == parent.topology.layer_counts()
    assert sum(int(dropped.sum()) for dropped, _ in found.values()) == sum(wanted.values())


@each_pair
@pytest.mark.parametrize("share", [0, 1])
def test_empty_and_full_layers_stay_as_they_are(drop, grow, share):
    masks = {
        name: torch.full(shape, bool(share))
        if name == "second.weight"
        else noise(shape, 1, name) < 0
        for name, shape in SHAPES.items()
    }
    dense = {name: noise(shape, 0, name) for name, shape in SHAPES.items()}
    parent = trained(dense, Topology(masks))
    child = update(drop=drop, grow=grow, fraction=0.5)(parent, context(parent))
    assert torch.equal(child.topology.masks["second.weight"], masks["second.weight"])
    assert child.topology.layer_counts() == parent.topology.layer_counts()
    assert not torch.equal(child.topology.masks["first.weight"], masks["first.weight"])


@each_pair
def test_a_tiny_fraction_changes_nothing(drop, grow):
    parent = candidate()
    child = update(drop=drop, grow=grow, fraction=1e-6)(parent, context(parent))
    assert masks_equal(child.topology.masks, parent.topology.masks)


@each_pair
@pytest.mark.parametrize("tied", [False, True])
def test_the_result_does_not_depend_on_the_order_of_layers(drop, grow, tied):
    parent = candidate()
    if tied:
        ones = {name: torch.ones(shape) for name, shape in SHAPES.items()}
        parent = trained(ones, parent.topology)
    mirrored = parent.evolve(
        weights=dict(reversed(parent.weights.items())),
        optimizer=dict(reversed(parent.optimizer.items())),
        topology=Topology(dict(reversed(parent.topology.masks.items()))),
        ever_active=dict(reversed(parent.ever_active.items())),
    )
    strategy = update(drop=drop, grow=grow)
    straight = strategy(parent, context(parent))
    assert masks_equal(
        straight.topology.masks, strategy(mirrored, context(mirrored)).topology.masks
    )


@each_pair
def test_the_result_is_a_function_of_candidate_and_seed(drop, grow):
    parent = candidate()
    strategy = update(drop=drop, grow=grow)
    first = strategy(parent, context(parent))
    torch.manual_seed(12345)
    again = strategy(parent, context(parent))
    assert masks_equal(first.topology.masks, again.topology.masks)
    other = strategy(parent, replace(context(parent), seed=1))
    assert masks_equal(first.topology.masks, other.topology.masks) != grow.startswith("random")


@pytest.mark.parametrize("grow", ["random", "random-unfired"])
def test_layers_that_look_the_same_draw_different_numbers(grow):
    mask = noise((10, 20), 0) < 0
    dense = {name: torch.ones(10, 20) for name in ("a.weight", "b.weight")}
    parent = trained(dense, Topology(dict.fromkeys(dense, mask)))
    child = update(drop="magnitude", grow=grow)(parent, context(parent))
    a, b = (pair[1] for pair in exchanges(parent, child).values())
    assert not torch.equal(a, b)


@settings(max_examples=count(100, 3000))
@given(
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=1, max_size=30),
    fraction=fractions,
    seed=seeds,
)
def test_set_drops_the_same_share_of_each_sign(signs, fraction, seed):
    sign = torch.tensor([signs + [0.0] * 30])
    weight = sign * (noise((1, len(signs) + 30), seed).abs() + 0.1)
    parent = trained({"w.weight": weight}, Topology({"w.weight": sign != 0}))
    child = update(drop="set", grow="random", fraction=fraction)(parent, context(parent))
    dropped = exchanges(parent, child)["w.weight"][0]
    share = int(dropped.sum()) / len(signs)
    for s in (-1.0, 1.0):
        of_sign, gone = sign == s, dropped & (sign == s)
        assert abs(int(gone.sum()) - share * int(of_sign.sum())) <= 0.5 + 1e-9
        stay = weight[of_sign & ~dropped].abs()
        assert not len(stay) or not bool((weight[gone].abs() > stay.min()).any())


@pytest.mark.parametrize("grow", ["random", "random-unfired"])
def test_random_growth_gives_every_missing_weight_the_same_chance(grow):
    shape = {"w.weight": (10, 10)}
    parent = candidate(shape, density=0.2)
    grown = torch.zeros(10, 10)
    draws = count(400, 20000)
    strategy = update(drop="magnitude", grow=grow, fraction=0.5)
    for seed in range(draws):
        child = strategy(parent, replace(context(parent), seed=seed))
        grown += exchanges(parent, child)["w.weight"][1]
    missing = ~parent.topology.masks["w.weight"]
    share = 10 / 80
    deviation = (grown[missing] - draws * share) / math.sqrt(draws * share * (1 - share))
    # Five standard deviations for each of 80 positions: a false alarm once in 20,000 seeds.
    assert float(deviation.abs().max()) < 5
    assert not bool(grown[~missing].any())


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=count(100, 3000))
@given(shapes=nets, density=densities)
def test_distributions_meet_the_total_exactly(distribution, shapes, density):
    density = possible(shapes, density)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    if round(density * sum(sizes.values())) < len(shapes):
        with pytest.raises(ConfigError, match="at least one each"):
            layer_counts(shapes, density, distribution)
        return
    counts = layer_counts(shapes, density, distribution)
    assert sum(counts.values()) == round(density * sum(sizes.values()))
    assert all(1 <= counts[name] <= sizes[name] for name in shapes)
    mirrored = layer_counts(dict(reversed(shapes.items())), density, distribution)
    assert counts == mirrored


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=count(30, 1000))
@given(shapes=nets, density=densities, seed=seeds, ties=st.booleans())
def test_initialization_meets_the_total_exactly(method, distribution, shapes, density, seed, ties):
    dense = {n: noise(s, seed, n) if not ties else torch.ones(s) for n, s in shapes.items()}
    total = sum(w.numel() for w in dense.values())
    density = max(possible(shapes, density), len(shapes) / total)
    kept = round(density * total)
    options = {"density": density, "distribution": distribution, "method": method, "seed": seed}
    topology = initialize(dense, **options)
    assert topology.nonzeros == kept
    assert min(topology.layer_counts().values()) >= 1
    assert {n: tuple(m.shape) for n, m in topology.masks.items()} == shapes
    assert masks_equal(initialize(dict(reversed(dense.items())), **options).masks, topology.masks)
    if method != "magnitude-global":
        assert topology.layer_counts() == layer_counts(shapes, density, distribution)


def test_every_registered_proposal_has_an_example():
    assert set(PROPOSALS.all()) == set(EXAMPLES)


def concrete(base: type) -> set[type]:
    """Return the library's own non-abstract descendants of `base`."""
    found = set()
    for child in base.__subclasses__():
        found |= {child} | concrete(child)
    return {
        c for c in found if c.__module__.startswith("safecompress.") and not inspect.isabstract(c)
    }


@pytest.mark.parametrize(("base", "registry"), [(DropRule, DROP_RULES), (GrowRule, GROW_RULES)])
def test_every_rule_of_the_library_is_registered_under_its_name(base, registry):
    built = {name: part.factory() for name, part in registry.all().items()}
    assert {type(rule) for rule in built.values()} == concrete(base)
    assert {name: rule.name for name, rule in built.items()} == {name: name for name in built}


def test_every_proposal_of_the_library_is_registered():
    built = {type(part.factory(**EXAMPLES[name])) for name, part in PROPOSALS.all().items()}
    assert built == concrete(Proposal)


@pytest.mark.parametrize("registry", [PROPOSALS, DROP_RULES, GROW_RULES], ids=lambda r: r.kind)
def test_every_part_says_what_it_is_and_costs(registry):
    for part in registry.all().values():
        assert part.summary
        assert part.reference
        assert part.cost


def test_a_student_takes_the_place_of_a_candidate_that_does_not_descend_from_it():
    proposal = PROPOSALS.build({"student": EXAMPLES["student"]}, where="test")
    # What a forebear was called tells nothing about where the weights are from.
    parent, student = candidate().evolve(lineage=("my student",)), candidate(seed=1).evolve(step=0)
    child = proposal(parent, replace(context(parent), student=student))
    assert (child.step, child.from_student) == (parent.step, True)
    tensors, theirs = child.tensors(), student.tensors()
    assert tensors.keys() == theirs.keys()
    assert all(torch.equal(tensors[key], theirs[key]) for key in theirs)
    later = proposal(child, replace(context(child), student=None))
    assert not masks_equal(later.topology.masks, child.topology.masks)
