"""Inputs of every type reach models of every kind in the type they want, on every way alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safecompress import audit, record
from safecompress.errors import DataError, ModelError
from safecompress.targets import ask, rows_for, target_of
from tests.unit.targets.models import Plain, groups, seen_by

TYPES = ["f2", "f4", "f8", ">f4", ">f8", "i1", "i2", "i4", "i8", ">i8", "u1", "u2", "u4", "u8", "?"]
MAKE = {
    "array": lambda x: x,
    "reversed view": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "column order": np.asfortranarray,
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "list": lambda x: x.tolist(),
}


def values(dtype: str, n: int = 24, width: int = 5) -> np.ndarray:
    """Return distinct rows, because a repeated one is asked about once."""
    draw = np.random.default_rng(0)
    if np.dtype(dtype).kind == "b":
        return np.arange(n)[:, None] >> np.arange(width) & 1 == 1
    numbers = draw.integers(0, 100, (n, width)) + draw.random((n, width))
    return numbers.astype(dtype)


@pytest.mark.parametrize("form", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize("dtype", TYPES)
def test_a_callable_gets_the_numbers_it_was_given(dtype: str, form: Any) -> None:
    x = values(dtype)
    model, data = Plain(), groups(x, form)
    record(model, *data)
    # Members and non-members come first; then a few are asked again.
    got = torch.cat(model.seen[:2]).numpy()
    assert np.array_equal(got, x), "no digit is lost"
    wider = x.dtype.kind == "u" and (dtype != "u1" or form is MAKE["list"])
    assert got.dtype.kind == ("i" if wider else x.dtype.kind)
    if form is not MAKE["list"] and np.dtype(dtype).kind == "f":
        assert got.dtype.itemsize == np.dtype(dtype).itemsize


@settings(max_examples=20, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    form=st.sampled_from(list(MAKE.values())),
    kind=st.sampled_from(["callable", "fp32", "fp64", "bf16", "embedding", "two inputs", "named"]),
)
def test_both_public_ways_ask_and_answer_the_same(dtype: str, form: Any, kind: str) -> None:
    x = values(dtype)
    if kind == "embedding":
        x = np.abs(np.trunc(x.astype("f8"))).astype(dtype)
    inputs = {"two inputs": lambda a: (a, a), "named": lambda a: {"rows": a}}.get(kind)
    model, data = seen_by(kind), groups(x, form, inputs)
    recorded = record(model, *data)
    target = target_of(model)
    asked = ask(target, rows_for(target, data, seed=0))
    for side in ("members", "nonmembers"):
        ours, theirs = (getattr(r.outputs, side) for r in (recorded, asked))
        assert torch.equal(ours.logits, theirs.logits)
        assert torch.equal(ours.labels, theirs.labels)
        first, second = (getattr(r.rows, side).inputs for r in (recorded, asked))
        for a, b in zip(flat(first), flat(second), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


def flat(inputs: Any) -> list[torch.Tensor]:
    if isinstance(inputs, torch.Tensor):
        return [inputs]
    return list(inputs.values()) if isinstance(inputs, dict) else list(inputs)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("own", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_module_is_asked_in_its_own_precision_and_fp32_at_least(dtype: str, own: Any) -> None:
    torch.manual_seed(0)
    net = nn.Linear(5, 2).to(own)
    before = [p.clone() for p in net.parameters()]
    x = values(dtype)
    recorded = record(net, *groups(x))
    wanted = torch.float64 if own == torch.float64 else torch.float32
    rows = torch.as_tensor(x.astype(x.dtype.newbyteorder("=")).astype("f8"), dtype=wanted)
    expected = nn.functional.linear(rows, net.weight.to(wanted), net.bias.to(wanted)).float()
    got = torch.cat([recorded.outputs.members.logits, recorded.outputs.nonmembers.logits])
    torch.testing.assert_close(got, expected)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert net.weight.dtype == own, "the user's module is not changed"


@pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "u1", "u2", "?", "f4", "f8"])
def test_whole_numbers_reach_an_embedding_whole(dtype: str) -> None:
    ids = values("?") if dtype == "?" else np.trunc(values("f8") % 90).astype(dtype)
    net = nn.Sequential(nn.EmbeddingBag(100, 4), nn.Linear(4, 2))
    recorded = record(net, *groups(ids))
    expected = net(torch.from_numpy(ids.astype("i8"))[:12])
    torch.testing.assert_close(recorded.outputs.members.logits, expected)


def rounding(recorded: Any) -> list[str]:
    return [remark for remark in recorded.remarks if "rounds column" in remark]


def test_digits_that_a_module_cannot_keep_are_told_by_column() -> None:
    seconds = 1.7e9 + np.arange(24.0) * 40
    x = np.stack([np.random.default_rng(0).normal(size=24), seconds], axis=1)
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1e-9], [-1.0, 0.0]]))
    (remark,) = rounding(record(net, *groups(x)))
    assert "rounds column 1 of input 0 by up to" in remark
    assert "1 columns in all" in remark
    assert not rounding(record(net, *groups(x - x.mean(axis=0))))
    assert not rounding(record(lambda rows: rows * torch.tensor([1, -1]), *groups(x)))
    verdict = audit(net, groups(x)).verdict
    assert remark in verdict.document.to_json()["remarks"]
    assert not rounding(record(net.double(), *groups(x)))
    whole = (seconds * 1000).astype("i8")[:, None]
    assert "column 0" in rounding(record(nn.Linear(1, 2), *groups(whole)))[0]


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (values("f8", width=4), ModelError, r"given float32 \(2, 4\): mat1 and mat2"),
        (values("f8") + 1j, ModelError, "raised RuntimeError"),
        (np.full((24, 3), "a"), ModelError, "no numbers, and the model is a torch module"),
        (np.zeros(24, [("a", int)]), DataError, "cannot become a tensor"),
        (np.zeros((24, 3), "datetime64[s]"), ModelError, "no numbers"),
        (np.full((24, 3), 2**64 - 1, "u8"), DataError, "beyond int64"),
    ],
)
def test_inputs_that_a_module_cannot_take_are_refused(
    inputs: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        record(nn.Linear(5, 2), *groups(inputs))


def test_groups_of_other_forms_are_refused() -> None:
    (x, y), _ = groups(values("f4"))
    others: list[Any] = [x[:, :2], {"rows": x}, (x, x), x.astype("i8"), x[:, :, None]]
    for other in others:
        for data in (((x, y), (other, y)), ((other, y), (x, y))):
            with pytest.raises(DataError, match="expected the same in both"):
                record(Plain(), *data)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: {}["key"], r"raised KeyError for rows 0 to 11, given float32 \(12, 5\)"),
        (lambda x: exit(0), "raised SystemExit"),
        (lambda x: (torch.tensor(1.0), x), r"returned shape \(\) for 12 rows.*loss and logits"),
        (lambda x: x[:5], r"returned shape \(5, 5\) for 12 rows"),
        (lambda x: x.argmax(dim=1), "like predicted classes"),
        (lambda x: x.numpy().argmax(axis=1)[:, None], "like predicted classes"),
        (lambda x: np.full((len(x), 2), "a"), "array of <U1"),
        (lambda x: x[:, None, None], r"shape \(12, 1, 1, 5\)"),
        (lambda x: None, "returned NoneType"),
        (lambda x: "text", "returned str"),
        (3, "the model is a int"),
        (None, "the model is a NoneType"),
        (nn.Linear, "is the class Linear"),
    ],
)
def test_what_a_model_raises_or_returns_becomes_one_sentence(model: Any, message: str) -> None:
    for way in (lambda m, d: record(m, *d), audit):
        with pytest.raises(ModelError, match=message) as caught:
            way(model, groups(values("f4")))
        assert "\n" not in str(caught.value)
