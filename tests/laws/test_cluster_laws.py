"""What must hold for weights that share values, whatever the weights and the number of values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from safecompress.errors import ConfigError, NonFiniteError
from safecompress.export.compact import compact_bytes
from safecompress.sparse import initialize
from safecompress.transforms import cluster_weights, clustered
from tests.support import count
from tests.transform_models import built, each_family

matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    elements=st.one_of(
        st.just(0.0),
        st.floats(-1e4, 1e4, width=32),
        st.sampled_from([1.0, -1.0]),
        # Beside ordinary entries these vanish in a sum, and must not vanish as weights.
        st.builds(
            lambda power, sign: float(np.float32(sign * 2.0**power)),
            st.integers(-140, -10),
            st.sampled_from([1, -1]),
        ),
    ),
)


@settings(max_examples=count(150, 5000), deadline=None)
@given(values=matrices, bits=st.integers(1, 8))
def test_few_values_zeros_and_signs_stay_and_nothing_changes_the_second_time(values, bits):
    weight = torch.from_numpy(values)
    made = clustered(weight, bits)
    assert made.shape == weight.shape
    assert made.dtype == weight.dtype
    assert len(made[made != 0].unique()) <= 2**bits
    assert torch.equal(made.sign(), weight.sign())
    assert torch.equal(clustered(made, bits), made)
    assert torch.equal(clustered(weight, bits), made)


@settings(max_examples=count(100, 3000), deadline=None)
@given(values=matrices, bits=st.integers(1, 4), seed=st.integers(0, 1000))
def test_each_weight_has_the_nearest_value_of_its_sign_wherever_it_stands(values, bits, seed):
    weight = torch.from_numpy(values).flatten()
    made = clustered(weight, bits)
    for sign in (-1, 1):
        own = weight.sign() == sign
        kept = made[own].unique().double()
        if not len(kept):
            continue
        distance = (weight[own].double().unsqueeze(1) - kept).abs()
        off = (made[own].double() - weight[own].double()).abs()
        assert bool((off <= distance.amin(1) * (1 + 1e-9)).all())
        # k-means of a group is never worse than its best single value, the mean.
        spread = (weight[own].double() - weight[own].double().mean()).square().sum()
        assert float(off.square().sum()) <= float(spread) * (1 + 1e-6) + 1e-30
    order = torch.randperm(len(weight), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(clustered(weight[order], bits), made[order])


@settings(max_examples=count(100, 3000), deadline=None)
@given(values=hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(0.5, 1e3, width=32)))
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_no_equal_groups_of_the_sorted_weights_are_closer(values, bits):
    """k-means begins with such groups and never gets worse; the groups are made here by numpy."""
    made = clustered(torch.from_numpy(values), bits).double().numpy()
    ordered, k = np.sort(values.astype(np.float64)), 2**bits
    cuts = [len(ordered) * i // k for i in range(k + 1)]
    groups = [ordered[i:j] for i, j in itertools.pairwise(cuts) if j > i]
    start = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    reached = float(((made - values.astype(np.float64)) ** 2).sum())
    assert reached <= start * (1 + 1e-6) + 1e-6


@each_family
def test_a_clustered_module_keeps_masks_shrinks_when_packed_and_leaves_the_original(family):
    module, inputs = built(family)
    topology = initialize(module, density=0.3, distribution="uniform", method="scratch", seed=0)
    topology.apply_(module)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    made = cluster_weights(module, bits=4)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    parameters = dict(made.module.named_parameters())
    assert made.values.keys() == topology.masks.keys()
    for name, mask in topology.masks.items():
        assert not bool(parameters[name][~mask].any())
        assert made.values[name] == len(parameters[name][parameters[name] != 0].unique()) <= 16
        assert 0 <= made.error[name] < 0.05
    with torch.no_grad():
        said, fine = made.module(inputs), module.eval()(inputs)
    assert float((said - fine).norm() / fine.norm()) < 0.5
    zstandard = pytest.importorskip("zstandard")
    sizes = [
        len(zstandard.compress(compact_bytes(m.state_dict(), topology, values="fp32")))
        for m in (made.module, module)
    ]
    assert sizes[0] < 0.7 * sizes[1]


@pytest.mark.parametrize("bits", [0, 9, True])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(ConfigError, match="expected 1 to 8"):
        clustered(torch.ones(3), bits)


def test_a_weight_that_is_no_number_is_refused():
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        clustered(torch.tensor([1.0, float("nan")]), 2)
