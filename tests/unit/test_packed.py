"""What is packed comes back bit for bit, takes less, and a damaged file of it is refused."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.candidate import Candidate
from safecompress.packed import LEAST, Packed, PackedTensors, flatten, pack, unflatten
from safecompress.topology import Topology
from safecompress.transforms import Transforms
from tests.support import count

TYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
]


def drawn(shape: tuple[int, ...], dtype: torch.dtype, density: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = 50 * torch.randn(shape, generator=generator)
    values[torch.rand(shape, generator=generator) >= density] = 0
    flat = values.view(-1)
    if flat.numel() > 3 and dtype.is_floating_point:
        flat[0], flat[1], flat[2] = -0.0, float("nan"), float("inf")
    return values.to(dtype)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


@settings(max_examples=count(150, 5000), deadline=None)
@given(
    shape=st.lists(st.integers(0, 40), min_size=0, max_size=3).map(tuple),
    dtype=st.sampled_from(TYPES),
    density=st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]),
    seed=st.integers(0, 10_000),
    turned=st.booleans(),
)
def test_every_bit_comes_back_also_through_a_file(shape, dtype, density, seed, turned):
    tensor = drawn(shape, dtype, density, seed)
    tensor = tensor.T if turned and tensor.ndim == 2 else tensor
    before = bits(tensor)
    held = PackedTensors.of({"b|w": tensor, "small": torch.ones(2), "a|w": tensor})
    flat, shapes = flatten(held)
    flat, shapes = dict(sorted(flat.items())), json.loads(json.dumps(shapes))
    for found in (held, unflatten(flat, shapes), PackedTensors.of(held)):
        assert list(found) == list(held)
        for name in ("a|w", "b|w"):
            assert found[name].shape == tensor.shape
            assert found[name].dtype == dtype
            assert bits(found[name]) == before
    assert bits(tensor) == before
    assert sum(t.nbytes for t in flat.values()) <= 2 * tensor.nbytes + 8


@pytest.mark.parametrize(("density", "share"), [(0.05, 0.1), (0.3, 0.35)])
def test_a_sparse_tensor_and_a_mask_take_what_their_existing_numbers_take(density, share):
    values = drawn((300, 200), torch.float32, density, 0)
    packed, mask = pack(values), pack(values != 0)
    assert isinstance(packed, Packed)
    assert isinstance(mask, Packed)
    assert packed.nbytes <= share * values.nbytes
    assert mask.nbytes == values.numel() // 8


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(LEAST - 1), torch.ones(4 * LEAST), torch.ones(LEAST, dtype=torch.complex64)],
    ids=["small", "dense", "complex"],
)
def test_what_would_not_get_smaller_stays(tensor):
    assert pack(tensor) is tensor


def test_parts_that_do_not_fit_each_other_are_refused():
    held = PackedTensors.of({"w": drawn((64, 64), torch.float32, 0.1, 1)})
    flat, shapes = flatten(held)
    wrong = [
        ({n: t for n, t in flat.items() if "bits" not in n}, shapes),
        (flat, {"w": [64, 65]}),
        (flat, {"w": None}),
        ({n: t[:-1] if "values" in n else t for n, t in flat.items()}, shapes),
        ({n: t.float() for n, t in flat.items()}, shapes),
    ]
    for tensors, recorded in wrong:
        with pytest.raises(ValueError, match=r"^w: "):
            unflatten(tensors, recorded)


def test_names_of_one_tensor_share_one_and_others_none():
    tied, other = drawn((64, 64), torch.float32, 0.1, 1), drawn((64, 64), torch.float32, 0.1, 2)
    packed = PackedTensors.of({"embedding": tied, "head": tied, "other": other})
    held = dict(packed)
    assert held["embedding"] is held["head"] is packed["head"]
    assert len({t.data_ptr() for t in held.values()}) == 2
    assert sum(id(p) == id(packed.stored["head"]) for p in packed.stored.values()) == 2


def test_a_quantized_candidate_shows_the_same_weights_packed_and_unpacked():
    weights = {
        f"{k}.weight": drawn((40 + k, 50), torch.float32, 0.3, k).nan_to_num(posinf=1.0)
        for k in range(12)
    }
    topology = Topology({name: weight != 0 for name, weight in weights.items()})
    plain = Candidate(weights, {}, topology, {}, transforms=Transforms(bits=4))
    shown, packed = plain.shown(), plain.packed().shown()
    assert list(shown) == list(packed)
    assert all(torch.equal(shown[name], packed[name]) for name in shown)
