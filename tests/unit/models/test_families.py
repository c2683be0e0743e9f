"""Model families: sizes, shapes, widths, refusals."""

from __future__ import annotations

import pytest
import torch

from safecompress.errors import ModelError
from safecompress.models import MODELS
from safecompress.topology import maskable_parameters

IMAGES = ["alexnet", "vgg-small", "vgg16", "vgg-c", "resnet8", "resnet20", "resnet18"]


def make(name, input_shape, classes=10, **options):
    return MODELS.parts[name].factory(input_shape=input_shape, classes=classes, **options)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_every_family_is_known():
    assert sorted(MODELS.parts) == sorted(["mlp", "hugging_face", "bert", *IMAGES])


@pytest.mark.parametrize(
    ("name", "shape", "classes", "expected"),
    [
        ("mlp", (446,), 30, 446 * 512 + 512 + 512 * 256 + 256 + 256 * 30 + 30),
        ("resnet20", (3, 32, 32), 10, 272_474),
        ("resnet18", (3, 32, 32), 10, 11_173_962),
        ("vgg16", (3, 32, 32), 10, 14_724_042),
    ],
)
def test_parameter_counts_are_the_published_ones(name, shape, classes, expected):
    assert parameters(make(name, shape, classes)) == expected


@pytest.mark.parametrize(("name", "millions"), [("alexnet", 2.5), ("vgg-c", 10.5)])
def test_sizes_are_what_the_documents_say(name, millions):
    assert parameters(make(name, (3, 32, 32))) / 1e6 == pytest.approx(millions, abs=0.1)


def test_vgg_c_has_1x1_convolutions_and_two_hidden_linear_layers():
    module = make("vgg-c", (3, 32, 32), 100)
    kernels = [m.kernel_size[0] for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
    linear = [m.out_features for m in module.modules() if isinstance(m, torch.nn.Linear)]
    assert kernels == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]
    assert linear == [512, 512, 100]


@pytest.mark.parametrize("name", ["vgg-small", "resnet8", "resnet20"])
def test_tiny_images_fit_the_families_that_messages_name(name):
    assert make(name, (1, 8, 8), width=0.25)(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("name", IMAGES)
def test_width_scales_every_layer_but_the_classifier(name):
    wide, narrow = (maskable_parameters(make(name, (3, 32, 32), width=w)) for w in (0.5, 0.25))
    assert wide.keys() == narrow.keys()
    for key, weight in list(wide.items())[:-1]:
        assert weight.shape[0] == 2 * narrow[key].shape[0]


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", [(446,), (32, 32), (3, 2, 2)])
def test_wrong_shapes_are_refused_with_what_fits(name, shape):
    with pytest.raises(ModelError, match=r"expected .*mlp") as caught:
        make(name, shape)
    assert name in str(caught.value)


@pytest.mark.parametrize("shape", [(5,), (3, 4, 4), (2, 3)])
@pytest.mark.parametrize("hidden", [(), (7,), (8, 6)])
def test_mlp_flattens_anything(shape, hidden):
    module = make("mlp", shape, classes=3, hidden=hidden, dropout=0.5, batch_norm=True)
    assert module(torch.randn(4, *shape)).shape == (4, 3)
    assert len(maskable_parameters(module)) == len(hidden) + 1


@pytest.mark.parametrize("name", ["mlp", *IMAGES])
@pytest.mark.parametrize(
    "options",
    [{"classes": 1}, {"width": 0}, {"dropout": 1.0}, {"hidden": [0]}, {"activation": "rlu"}],
)
def test_bad_options_are_named(name, options):
    ((option, value),) = options.items()
    shape = (9,) if name == "mlp" else (3, 32, 32)
    expected = "did you mean 'relu'" if option == "activation" and name == "mlp" else option
    with pytest.raises((ModelError, TypeError), match=expected):
        MODELS.parts[name].factory(**{"input_shape": shape, "classes": 3, option: value})
