"""Which parameters a run prunes, and that the density is that of the function that is shipped."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from safecompress.compression.maskable import choose_maskable_
from safecompress.compression.unused import unused_parameters
from safecompress.config import SparseConfig
from safecompress.errors import ConfigError
from safecompress.protocols import Rows
from safecompress.topology import Topology, maskable_parameters, rounded_density
from tests.zoo_modules import FEATURES, SIZE, Auxiliary, Transformer

N = 40


def _rows(*shape: int) -> Rows:
    draw = torch.Generator().manual_seed(0)
    return Rows(torch.randn(N, *shape, generator=draw), torch.arange(N) % 3, torch.arange(N))


def _chosen(module: nn.Module, rows: Rows, **sparse: object) -> tuple[set[str], list[str]]:
    config = SparseConfig.model_validate({"density": 0.2} | sparse)
    remarks = choose_maskable_(module, config, unused_parameters(module, rows), name="Net")
    return set(maskable_parameters(module)), remarks


ENCODER = "encoder.layers.0."
WEIGHTS = {
    "patch.weight",
    f"{ENCODER}self_attn.in_proj_weight",
    f"{ENCODER}self_attn.out_proj.weight",
    f"{ENCODER}linear1.weight",
    f"{ENCODER}linear2.weight",
    "head.weight",
}


def test_tokens_stay_dense_unless_they_are_named():
    names, remarks = _chosen(Transformer(), _rows(1, SIZE, SIZE))
    assert names == WEIGHTS
    # 16 numbers of the class token and 5 x 16 of the positions.
    assert any("96 parameters ('cls_token', 'pos_embed') stay dense" in r for r in remarks)
    named, _ = _chosen(Transformer(), _rows(1, SIZE, SIZE), include=["pos_*"])
    assert named == WEIGHTS | {"pos_embed"}


def test_a_layer_is_excluded_by_its_name_or_its_type():
    by_name, _ = _chosen(Transformer(), _rows(1, SIZE, SIZE), exclude=["head", "*.linear?"])
    assert by_name == WEIGHTS - {
        "head.weight",
        f"{ENCODER}linear1.weight",
        f"{ENCODER}linear2.weight",
    }
    by_type, _ = _chosen(Transformer(), _rows(1, SIZE, SIZE), exclude=["Conv2d"], include=["patch"])
    assert by_type == WEIGHTS - {"patch.weight"}


@pytest.mark.parametrize(
    ("sparse", "message"),
    [
        (
            {"include": ["pos_embd"]},
            r"include: 'pos_embd' fits no .* did you mean 'pos_emb",
        ),
        ({"exclude": ["Conv3d"]}, r"sparse\.exclude: 'Conv3d' fits no .* did you mean 'Conv2d'"),
        ({"include": ["head.bias"]}, r"'head\.bias', float32 of shape \(3,\); masks are for"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(sparse, message):
    with pytest.raises(ConfigError, match=message):
        _chosen(Transformer(), _rows(1, SIZE, SIZE), **sparse)


def test_a_normalization_over_images_stays_dense():
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.LayerNorm([3, SIZE, SIZE]),
        nn.Flatten(),
        nn.Linear(3 * SIZE * SIZE, 3),
    )
    assert _chosen(net, _rows(1, SIZE, SIZE))[0] == {"0.weight", "3.weight"}


def test_heads_and_leftovers_that_no_prediction_uses_are_said_and_not_counted():
    net = Auxiliary()
    names, remarks = _chosen(net, _rows(FEATURES))
    assert names == {"body.weight", "head.weight"}
    # The auxiliary head has 16 x 3 + 3 parameters, the layer never called 20 x 20 + 20.
    assert any(f"uses {51 + 420:,} parameters ('aux.bias', 'aux.weight'" in r for r in remarks)
    # Density is a share of the 12 x 16 + 16 x 3 weights that are shipped.
    assert Topology.dense(net).total == 240
    assert rounded_density(net, 0.2) == 48 / 240


def test_frozen_layers_are_said_and_not_counted():
    net = nn.Sequential(nn.Linear(FEATURES, 16).requires_grad_(False), nn.ReLU(), nn.Linear(16, 3))
    names, remarks = _chosen(net, _rows(FEATURES))
    assert names == {"2.weight"}
    assert any("192 parameters ('0.weight') are frozen" in r for r in remarks)


def test_what_a_module_declares_goes_with_its_copies():
    net = Auxiliary()
    _chosen(net, _rows(FEATURES))
    assert set(maskable_parameters(copy.deepcopy(net))) == {"body.weight", "head.weight"}


class Experts(nn.Module):
    """A part that only one row in a hundred reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.usual, self.rare = nn.Linear(FEATURES, 3), nn.Linear(FEATURES, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.usual(x)
        for row in (x[:, 0] > 100).nonzero().flatten().tolist():
            out = out.index_add(0, torch.tensor([row]), self.rare(x[row : row + 1]))
        return out


@pytest.mark.parametrize(("row", "found"), [(5, True), (200, True), (300, False)])
def test_a_part_for_rare_rows_is_found_among_the_first_256(row: int, found: bool):
    x = torch.zeros(400, FEATURES)
    x[row, 0] = 200
    rows = Rows(x, torch.arange(400) % 3, torch.arange(400))
    unused = unused_parameters(Experts(), rows)
    assert unused.names == (frozenset() if found else {"rare.weight", "rare.bias"})
