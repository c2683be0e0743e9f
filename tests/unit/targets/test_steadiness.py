"""Models that give another answer when they are asked again are refused and left as they were."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safecompress import audit, record
from safecompress.errors import DataError
from tests.unit.targets.models import groups

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))


def net(*, drop: bool = False, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(6, 16)]
    layers += [nn.BatchNorm1d(16)] if norm else []
    layers += [nn.ReLU(), *([nn.Dropout(0.2)] if drop else []), nn.Linear(16, 3)]
    return nn.Sequential(*layers)


class Wrapper:
    def __init__(self, model: nn.Module) -> None:
        self.parts = {"models": [model]}

    def __call__(self, rows: Tensor) -> Tensor:
        return self.parts["models"][0](rows)

    def outputs(self, rows: Tensor) -> Tensor:
        return self(rows)


WAYS = {
    "closure": lambda model: lambda rows: model(rows) + 0,
    "method": lambda model: model.forward,
    "object": Wrapper,
    "method of an object": lambda model: Wrapper(model).outputs,
    "partial": lambda model: functools.partial(lambda inner, rows: inner(rows), model),
    "ensemble": lambda model: lambda rows, models=(model, model): sum(m(rows) for m in models),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_net_in_training_mode_inside_a_callable_is_refused(way: Any) -> None:
    for drop, norm in ((True, False), (False, True), (True, True)):
        model = net(drop=drop, norm=norm).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        for ask in (lambda m, d: record(m, *d), audit):
            with pytest.raises(DataError, match=r"eval\(\)"):
                ask(way(model), groups(X))
        after = model.state_dict()
        if way is not WAYS["ensemble"]:  # default arguments are not searched
            assert all(torch.equal(before[name], after[name]) for name in before)
        record(way(model.eval()), *groups(X))


def test_a_module_itself_is_asked_in_evaluation_mode_and_put_back() -> None:
    model = net(drop=True, norm=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record(model, *groups(X))
    assert model.training
    assert all(torch.equal(before[name], v) for name, v in model.state_dict().items())


@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
def test_random_answers_are_refused(noise: float) -> None:
    model, source = net().eval(), np.random.default_rng(0)

    def noisy(rows: Tensor) -> Tensor:
        outputs = model(rows)
        return outputs + noise * outputs.std() * torch.as_tensor(source.normal(size=outputs.shape))

    class Functional(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return model(nn.functional.dropout(rows, noise / 2))

    for unsteady in (noisy, Functional()):
        with pytest.raises(DataError, match="the same rows twice"):
            record(unsteady, *groups(X))


def test_answers_relative_to_the_batch_are_refused() -> None:
    model = net().eval()
    with pytest.raises(DataError, match="in other batches"):
        record(lambda rows: model(rows) - model(rows).mean(dim=0), *groups(X))


@pytest.mark.parametrize(
    ("hides", "words"),
    [
        (lambda rows: len(rows) == 1, "one by one"),
        (lambda rows: len(rows) < 20, "in other batches"),
        (lambda rows: len(rows) < 70, "in batches of hundreds"),
        (lambda rows: bool((rows[1:] > rows[:1]).any()), "one by one"),
    ],
    ids=["one row", "small batches", "large batches", "company"],
)
def test_a_model_that_leaks_in_other_batches_than_those_of_the_audit_is_refused(
    hides: Any, words: str
) -> None:
    """Whoever attacks asks as he likes: row by row, too."""
    model, other = net().eval(), nn.Sequential(nn.Linear(6, 3))
    with pytest.raises(DataError, match=words):
        record(lambda rows: (other if hides(rows) else model)(rows), *groups(X))


def test_groups_of_different_types_are_asked_apart() -> None:
    members, nonmembers = groups(X)
    model, seen = net().eval(), set()

    def typed(rows: Tensor) -> Tensor:
        seen.add((len(rows), rows.dtype))
        return model(rows.float())

    record(typed, (np.asarray(members[0], np.float16), members[1]), nonmembers)
    kinds = {dtype: [n for n, d in seen if d == dtype] for _, dtype in seen}
    # In both types all rows, a few together, small batches and single rows were asked about.
    assert {dtype: sorted(sizes) for dtype, sizes in kinds.items()} == {
        torch.float16: [1, 8, 32, 100],
        torch.float32: [1, 8, 32, 100],
    }


def test_rows_from_all_over_the_groups_are_asked() -> None:
    """A model that is random for late rows alone, or for non-members alone, is refused."""
    model, held = net().eval(), groups(X)
    late = held[1][0][len(held[1][0]) // 2 :]

    def noisy(rows: Tensor) -> Tensor:
        some = torch.cdist(rows, torch.as_tensor(late)).amin(dim=1) < 1e-3
        return model(rows) + torch.randn(len(rows), 3) * some[:, None]

    with pytest.raises(DataError, match="the same rows twice"):
        record(noisy, *held)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_and_quantization_are_no_randomness(dtype: torch.dtype) -> None:
    model = net().eval()
    lower = net().eval().to(dtype)
    record(lambda rows: lower(rows.to(dtype)), *groups(X))
    assert not record(model, *groups(X)).remarks

    def ranged(rows: Tensor) -> Tensor:
        step = rows.abs().max() / 127
        return model((rows / step).round() * step)

    record(ranged, *groups(X))


def test_constant_and_single_row_models_are_steady() -> None:
    for n in (2, 4, 40, 64, 100):
        record(net(), *groups(X[:n]))
    record(lambda rows: torch.zeros(len(rows), 2), *groups(X))
