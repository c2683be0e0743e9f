"""What must hold for models that are quantized or factorized after training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safecompress.protocols import Rows
from safecompress.sparse import initialize
from safecompress.train import predict, quantize_after_training
from safecompress.transforms import (
    Channels,
    codes,
    factorize,
    input_quantizers,
    quantized,
    remove_channels,
)
from tests.laws.test_training_laws import Net
from tests.support import count
from tests.transform_models import built, each_family

each_bits = pytest.mark.parametrize("bits", [8, 4])


@each_bits
@each_family
def test_quantizing_after_training(family, bits):
    module, inputs = built(family)
    rows = Rows(inputs, torch.zeros(len(inputs), dtype=torch.int64), torch.arange(len(inputs)))
    topology = initialize(module, density=0.5, distribution="uniform", method="scratch", seed=0)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    topology.apply_(module)
    made = quantize_after_training(module, rows, bits=bits, topology=topology)
    assert made.module.state_dict().keys() == before.keys()
    parameters = dict(made.module.named_parameters())
    for name, mask in topology.masks.items():
        assert not bool(parameters[name][~mask].any())
        assert torch.equal(quantized(parameters[name], bits), parameters[name])
        step = made.numbers.scales[name].view(-1, *[1] * (mask.ndim - 1))
        assert torch.equal(codes(parameters[name], bits) * step, parameters[name])
    said, fine = predict(made.module, rows).logits, predict(module, rows).logits
    error = float((said - fine).norm() / fine.norm())
    assert 0 < error < (0.05 if bits == 8 else 0.8)
    for name, bounds in made.numbers.ranges.items():
        assert torch.isfinite(bounds).all(), name
    first = next(iter(made.numbers.ranges.values()))
    assert torch.equal(first, torch.stack(inputs.aminmax()))
    weights_only = quantize_after_training(module, rows, bits=bits, activations=False)
    assert not input_quantizers(weights_only.module)
    assert not weights_only.numbers.ranges


@each_family
def test_a_full_rank_is_the_same_function_and_a_low_one_is_smaller(family):
    module, inputs = built(family)
    module.eval()
    with torch.no_grad():
        before = module(inputs)
        sizes = [sum(p.numel() for p in module.parameters())]
        for share in (0.9, 0.5, 0.2):
            thin = factorize(module, share=share)
            sizes.append(sum(p.numel() for p in thin.parameters()))
            assert thin(inputs).shape == before.shape
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] < 0.4 * sizes[0]
    assert torch.equal(module(inputs), before)


@settings(max_examples=count(20, 200), deadline=None)
@given(rank=st.integers(1, 5), stride=st.integers(1, 2), seed=st.integers(0, 999))
def test_a_layer_of_low_rank_is_found_exactly(rank, stride, seed):
    g = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(6, 20, 3, stride=stride, padding=1)
    with torch.no_grad():
        weight = torch.randn(20, rank, generator=g) @ torch.randn(rank, 54, generator=g)
        layer.weight.copy_(weight.view(20, 6, 3, 3))
    thin = factorize(layer, share=(rank + 0.5) * 74 / 1080)
    assert thin[0].out_channels == rank
    x = torch.randn(2, 6, 7, 7, generator=g)
    torch.testing.assert_close(thin(x), layer(x), rtol=1e-4, atol=1e-3)


def test_channels_of_nothing_change_nothing():
    module, inputs = built("resnet8")
    same_size = remove_channels(module.eval(), Channels())
    assert torch.equal(same_size(inputs), module(inputs))
    assert Net().state_dict().keys() == remove_channels(Net(), Channels()).state_dict().keys()
