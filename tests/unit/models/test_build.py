"""Models from configurations, and the check that they can be called."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from safecompress.config import ModelConfig
from safecompress.errors import ConfigError, ModelError
from safecompress.models import adapt, build_model, call, check_model
from safecompress.protocols import Rows

SOURCE = """
from torch import nn
def plain(features, classes): return nn.Linear(features, classes)
def shaped(input_shape, classes, bias=True): return nn.Linear(input_shape[0], classes, bias=bias)
def anything(**options): return nn.Linear(3, 2) if not options else options
def wrong(): return 3
def broken(): raise RuntimeError("no license")
class Net(nn.Linear):
    def __init__(self, classes): super().__init__(4, classes)
NUMBER = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "user_models.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("user_models", None)


def build(name, seed=0, input_shape=(5,), classes=3, **options):
    config = ModelConfig(name=name, options=options)
    return build_model(config, input_shape=input_shape, classes=classes, seed=seed)


def rows(n=3, shape=(5,)):
    return Rows(torch.randn(n, *shape), torch.zeros(n, dtype=torch.int64), torch.arange(n))


def test_initialization_is_fixed_by_the_seed_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    a, b, c = build("mlp"), build("mlp"), build("mlp", seed=1)
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(a.parameters(), b.parameters(), c.parameters(), strict=True))
    assert all(torch.equal(p, q) for p, q, _ in pairs)
    assert not any(torch.equal(p, r) for p, _, r in pairs)


def test_families_get_their_options():
    assert build("mlp", hidden=[4]).layers[1].out_features == 4


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("mlpp", {}, ConfigError, "did you mean 'mlp'"),
        ("mlp", {"hiden": [3]}, ConfigError, "did you mean 'hidden'"),
        ("mlp", {"classes": 4}, ConfigError, "comes from the data"),
        ("mlp", {"hidden": 3}, ConfigError, "refused"),
        ("alexnet", {}, ModelError, "expected images"),
        ("no_such_module:f", {}, ModelError, "No module named"),
        ("user_models:plian", {}, ModelError, "did you mean 'plain'"),
        ("user_models:", {}, ModelError, "package.module:callable"),
        ("user_models:NUMBER", {}, ModelError, "is a int"),
        ("user_models:wrong", {}, ModelError, "returned int"),
        ("user_models:broken", {}, ModelError, "no license"),
        ("user_models:plain", {}, ModelError, "features"),
    ],
)
def test_mistakes_are_explained(here, name, options, error, message):
    config = ModelConfig(name=name, options=options)
    with pytest.raises(error, match=message):
        build_model(config, input_shape=(5,), classes=3, seed=0)


@pytest.mark.parametrize("width", [1 << 40, 1 << 62, 10**30])
def test_sizes_beyond_any_memory_are_refused_with_their_name(width):
    config = ModelConfig(name="mlp", options={"hidden": [width]})
    with pytest.raises((ConfigError, ModelError), match=str(width)):
        build_model(config, input_shape=(4,), classes=2, seed=0)


def test_import_path_gets_the_data_only_where_its_signature_asks(here):
    assert build("user_models:plain", features=7).weight.shape == (3, 7)
    assert build("user_models:shaped", bias=False).weight.shape == (3, 5)
    assert build("user_models:anything").weight.shape == (2, 3)
    assert build("user_models:Net").weight.shape == (3, 4)
    assert str(here) not in sys.path


@dataclass
class Output:
    logits: torch.Tensor


def test_adapt_finds_logits():
    logits = torch.ones(2, 3)
    for output in (logits, (logits, 1), [logits], Output(logits), {"logits": logits}):
        assert adapt(output) is logits
    for output in (None, (), {"loss": logits}, ([logits],)):
        with pytest.raises(ModelError, match="logits"):
            adapt(output)


def test_call_passes_inputs_by_their_structure():
    def model(a, b=0):
        return a - b

    one, two = torch.ones(2), torch.full((2,), 2.0)
    assert torch.equal(call(model, one), one)
    assert torch.equal(call(model, (one, two)), -one)
    assert torch.equal(call(model, {"b": one, "a": two}), one)


@pytest.mark.parametrize("norm", [False, True])
def test_a_good_model_passes_unchanged(norm):
    module = build("mlp", hidden=[4], batch_norm=norm, dropout=0.5).eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    some = rows()
    state = torch.get_rng_state()
    check_model(module, some, 3)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not module.training


class Unstable(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) / (0.0 if self.training else 1.0)


def nan_weights():
    module = nn.Linear(5, 3)
    with torch.no_grad():
        module.weight[0, 0] = float("nan")
    return module


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(4, 3), r"evaluation mode .*\(2, 5\)"),
        (nn.Linear(5, 4), r"\(2, 4\).*expected \(2, 3\)"),
        (nan_weights(), "'weight' has 1 of 15 values NaN"),
        (nn.LazyLinear(3), "lazy"),
        (Unstable(5, 3), "not finite numbers in training"),
        (nn.Sequential(nn.Linear(5, 3), nn.Unflatten(1, (3, 1)), nn.Flatten(0)), "returned shape"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_bad_model_is_refused_with_a_remedy(module, message):
    with pytest.raises(ModelError, match=message):
        check_model(module, rows(), 3)


def test_one_row_is_enough_to_check():
    check_model(nn.Linear(5, 3), rows(1), 3)


def test_a_model_of_whole_numbers_is_told_how_to_take_rows():
    net = nn.Sequential(nn.EmbeddingBag(50, 4), nn.Linear(4, 3))
    ids = rows().ids[:, None].float() + torch.arange(5.0)
    given = Rows(ids, rows().labels, rows().ids)
    with pytest.raises(ModelError, match=r"begin with x = x.long\(\)"):
        check_model(net, given, 3)
    with pytest.raises(ModelError, match="input size fits the data"):
        check_model(nn.Linear(4, 3), given, 3)
