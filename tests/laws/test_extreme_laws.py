"""Laws at the edges of what a model can say: enormous, equal and very many logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from safecompress.attacks import ATTACKS
from safecompress.errors import NonFiniteError
from safecompress.protocols import Attack, AttackResult, Evidence, Outputs, Pool
from safecompress.randomness import generator
from tests.support import count

LARGEST = torch.finfo(torch.float32).max
NO_MODEL = sorted(name for name in ATTACKS.all() if not ATTACKS.build(name, where="test").requires)


def outputs(logits: Tensor, *, labels: Tensor | None = None, first: int = 0) -> Outputs:
    n = len(logits)
    if labels is None:
        labels = torch.arange(n) % logits.shape[1]
    return Outputs(logits, labels, torch.arange(first, first + n))


def build(name: str) -> Attack:
    """Return an attack by its name; two epochs say as much here as the published hundred."""
    return ATTACKS.build({name: {"epochs": 2}} if "published" in name else name, where="test")


def attacked(name: str, members: Outputs, nonmembers: Outputs) -> AttackResult:
    pool = Pool(members, nonmembers)
    halves = pool.map(lambda o: torch.arange(len(o)) % 2 == 0)
    return build(name)(pool.map(Evidence), halves=halves, seed=0)


def told_apart(result: AttackResult) -> list[float]:
    """Return every number an attack's result is read for."""
    sides = [result.scores, result.known, result.judged, result.guesses, result.class_guesses]
    return [float(v) for side in sides for part in (side.members, side.nonmembers) for v in part]


@pytest.mark.parametrize("name", NO_MODEL)
@pytest.mark.parametrize("scale", [1e30, LARGEST, 1e-30, 1e-45, 0.0])
@pytest.mark.parametrize("classes", [2, 3, 50])
def test_scores_are_finite_whatever_the_logits(name: str, scale: float, classes: int) -> None:
    draw = generator(0, "test", "extremes")
    logits = [torch.rand(64, classes, generator=draw) * 2 - 1 for _ in range(2)]
    logits[0][:8], logits[0][8:16] = 1.0, -1.0
    logits[1][:8, 0] = 0.0
    members, nonmembers = (outputs(z * scale, first=64 * side) for side, z in enumerate(logits))
    result = attacked(name, members, nonmembers)
    assert torch.isfinite(torch.tensor(told_apart(result), dtype=torch.float64)).all()


@pytest.mark.parametrize("name", NO_MODEL)
def test_a_constant_model_tells_nobody_apart(name: str) -> None:
    labels = torch.zeros(64, dtype=torch.int64)
    sides = [outputs(torch.full((64, 4), 2.5), labels=labels, first=64 * s) for s in range(2)]
    result = attacked(name, *sides)
    assert len({*result.scores.members.tolist(), *result.scores.nonmembers.tolist()}) == 1


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e6, 1e20, 1e30, 1e37]))
@settings(max_examples=count(20, 500))
def test_the_order_of_enormous_logits_is_kept(seed: int, scale: float) -> None:
    """By confidence always; by loss wherever a loss is not zero to the last digit."""
    z = torch.rand(40, 3, generator=generator(seed, "test", "order")) * 2 - 1
    labels = torch.arange(40) % 3
    said = outputs(z * scale, labels=labels)
    exact = said.logits.double()
    top = exact.topk(2, dim=1).values
    lead = exact.gather(1, labels[:, None]).squeeze(1) - torch.where(
        exact.argmax(dim=1) == labels, top[:, 1], top[:, 0]
    )
    for name, margin in (("confidence", top[:, 0] - top[:, 1]), ("loss", lead)):
        scores = attacked(name, said, said).scores.members
        order = margin.argsort()
        steps = scores[order].diff()
        assert bool((steps >= 0).all())
        if name == "confidence":
            assert bool((steps[margin[order].diff() > 0] > 0).all())
        else:
            # A row that is right by so much has the loss 0; all others keep apart.
            wrong = lead[order] < 0
            apart = (lead[order].diff() > 0) & wrong[1:]
            assert bool((steps[apart] > 0).all())


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the largest tensor that any operation returns without being a view of another."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.size = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor) and not tensor._is_view() and tensor.dtype.itemsize == 8:
                self.size = max(self.size, tensor.numel() * 8)
        return made


MANY_ROWS, MANY_CLASSES = 600, 10_000


# The published network reads every class's probability, so its weights grow with the classes.
READ_A_FEW = sorted({*NO_MODEL, "losses"} - {"neural-published"})


@pytest.mark.parametrize("name", READ_A_FEW)
def test_ten_thousand_classes_never_lie_in_memory_in_double_precision(name: str) -> None:
    """A 64-bit copy of all logits would be twice as large as everything the model said."""
    draw = generator(0, "test", "many")
    members, nonmembers = (
        outputs(torch.randn(MANY_ROWS, MANY_CLASSES, generator=draw), first=first)
        for first in (0, MANY_ROWS)
    )
    with LargestTensor() as largest:
        if name == "losses":
            finite = torch.isfinite(members.losses).all()
        else:
            finite = torch.isfinite(attacked(name, members, nonmembers).scores.members).all()
    assert bool(finite)
    assert 0 < largest.size <= MANY_ROWS * MANY_CLASSES * 8 / 4


@pytest.mark.parametrize("name", NO_MODEL)
def test_classes_with_a_single_row_or_on_one_side_only(name: str) -> None:
    draw = generator(0, "test", "single")
    sides = []
    for first, extra in ((0, [3, 4, 5]), (64, [3, 6, 7])):
        labels = torch.cat([torch.arange(61) % 3, torch.tensor(extra)])
        sides.append(outputs(torch.randn(64, 9, generator=draw), labels=labels, first=first))
    result = attacked(name, *sides)
    assert torch.isfinite(torch.tensor(told_apart(result), dtype=torch.float64)).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("scale", [1.0, LARGEST])
def test_one_bad_logit_is_found_among_enormous_ones(bad: float, scale: float) -> None:
    logits = torch.full((50, 40), scale)
    outputs(logits)
    logits[31, 7] = bad
    with pytest.raises(NonFiniteError, match="1 of 50 rows"):
        outputs(logits)
