"""Whole numbers that are left alone reach the model as int64; everything else as float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from safecompress import splits_from_arrays, splits_from_dataset
from safecompress.data import Preprocessor
from safecompress.errors import DataError

LARGE = 2**24 + 1
"""The smallest whole number that float32 does not have."""
NONE = {"features": "none"}


def _ids() -> torch.Tensor:
    ids = torch.arange(400 * 3).reshape(400, 3)
    ids[:, 0] += LARGE
    return ids


LABELS = torch.arange(400) % 2


@pytest.mark.parametrize("kind", [torch.int16, torch.int32, torch.int64])
def test_they_stay_what_they_are(kind):
    given = (_ids() % 30_000).to(kind)
    rows = splits_from_arrays(given, LABELS, preprocessing=NONE, seed=0).members
    assert rows.inputs.dtype == torch.int64
    assert torch.equal(rows.inputs, given[rows.ids].long())


def test_none_is_rounded_as_a_float_would_be():
    splits = splits_from_dataset(TensorDataset(_ids(), LABELS), preprocessing=NONE, seed=0)
    assert torch.equal(splits.members.inputs, _ids()[splits.members.ids])
    again = Preprocessor.from_json(splits.preprocessor.to_json())
    assert torch.equal(again.apply(_ids()[:5].numpy()), _ids()[:5])
    with pytest.raises(DataError, match=r"float64; the model takes whole numbers"):
        again.apply(_ids()[:5].double().numpy())


def test_given_weights_get_them_as_they_are():
    splits = splits_from_arrays(
        _ids(), LABELS, split={"membership": "unseen"}, weights_given=True, seed=0
    )
    assert splits.members.inputs.dtype == torch.int64


BITS = (torch.arange(400)[:, None] >> torch.arange(9)) & 1


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        (_ids(), {}),
        (_ids(), {"features": "standardize"}),
        (BITS.to(torch.uint8), NONE),
        (BITS.double(), NONE),
        (BITS.bool(), NONE),
    ],
    ids=["auto", "standardize", "pixels", "floats", "flags"],
)
def test_everything_else_becomes_float32(given: torch.Tensor, settings: dict[str, str]):
    splits = splits_from_arrays(given, LABELS, preprocessing=settings, seed=0)
    assert splits.members.inputs.dtype == torch.float32


@pytest.mark.parametrize(
    "inputs",
    [(_ids().numpy(), _ids().numpy()), {"a": _ids().numpy()}],
    ids=["tuple", "by name"],
)
def test_several_inputs_are_refused_in_one_message(inputs):
    with pytest.raises(DataError, match=r"expected one array of numbers\. Join several"):
        splits_from_arrays(inputs, LABELS, seed=0)

    class Named(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> Any:
            one = {"a": torch.ones(2)} if isinstance(inputs, dict) else (torch.ones(2),) * 2
            return one, row % 2

    with pytest.raises(DataError, match=r"row 0: inputs are a (dict|tuple).*Join several"):
        splits_from_dataset(Named(), seed=0)
