"""Schedule, augmentation, batches, prediction, and a module's tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safecompress.config import TrainConfig
from safecompress.errors import ConfigError, DataError, ModelError, NonFiniteError
from safecompress.protocols import Rows
from safecompress.train import predict
from safecompress.train.augment import crop_flip, require_images
from safecompress.train.batches import Batches
from safecompress.train.schedule import learning_rate
from safecompress.train.state import load_module_, module_tensors, require_finite


def rates(config, total):
    return [learning_rate(config, step, total=total) for step in range(total)]


def torch_rates(make, total, lr):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("total", [1, 7, 100])
def test_schedules_agree_with_torch(total):
    config = TrainConfig(lr=0.3, milestones=(0.5, 0.75), gamma=0.2)
    milestones = [round(0.5 * total), round(0.75 * total)]
    expected = torch_rates(
        lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones, gamma=0.2), total, 0.3
    )
    if total > 1:
        assert rates(config, total) == pytest.approx(expected)
    cosine = TrainConfig(lr=0.3, schedule="cosine")
    expected = torch_rates(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, total), total, 0.3
    )
    assert rates(cosine, total) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["multi-step", "cosine", "constant"])
def test_warm_up_rises_to_the_peak_and_the_end_stays(schedule):
    config = TrainConfig(lr=0.1, schedule=schedule, warmup=0.2)
    found = rates(config, 50)
    assert 0 < found[0] < found[9] < found[10] == pytest.approx(0.1)
    assert max(found) == pytest.approx(0.1)
    assert learning_rate(config, 60, total=50) == learning_rate(config, 50, total=50)


@pytest.mark.parametrize("schedule", ["multi-step", "cosine", "constant"])
def test_an_empty_stage_has_a_rate(schedule):
    config = TrainConfig(schedule=schedule, epochs=0)
    assert 0 <= learning_rate(config, 0, total=0) <= config.lr


def test_crop_flip_is_a_shift_and_a_mirror_of_each_image():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, 7, 5, generator=g)
    y = crop_flip(x, g)
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4))
    offsets, mirrors = set(), 0
    for image, canvas in zip(y, padded, strict=True):
        windows = {(i, j): canvas[:, i : i + 7, j : j + 5] for i in range(9) for j in range(9)}
        found = [
            (place, flip)
            for place, window in windows.items()
            for flip in (False, True)
            if torch.equal(image, window.flip(2) if flip else window)
        ]
        assert found
        offsets.add(found[0][0])
        mirrors += found[0][1]
    assert len(offsets) > 60
    assert 70 < mirrors < 130
    assert {i for i, _ in offsets} == {j for _, j in offsets} == set(range(9))


def test_crop_flip_is_fixed_by_its_generator():
    x = torch.randn(4, 1, 8, 8)
    a, b, c = (crop_flip(x, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    "inputs", [torch.ones(4, 3), (torch.ones(4, 1, 8, 8),), {"a": torch.ones(4)}]
)
def test_augmentation_is_for_images(inputs):
    with pytest.raises(ConfigError, match="augment: none"):
        require_images(inputs)


def rows(n, shape=(3,)):
    return Rows(
        torch.arange(n * 3.0).reshape(n, *shape),
        torch.zeros(n, dtype=torch.int64),
        torch.arange(n) + 100,
    )


def batches(n, batch_size):
    config = TrainConfig(batch_size=batch_size)
    return Batches(rows(n), config, seed=0, stage="s", device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("n", "batch_size", "steps", "size"), [(10, 4, 2, 4), (3, 8, 1, 3), (8, 8, 1, 8), (1, 4, 1, 1)]
)
def test_a_last_batch_that_is_not_full_sits_out(n, batch_size, steps, size):
    made = batches(n, batch_size)
    assert made.steps_per_epoch == steps
    batch = made.at(5, memory_format=torch.contiguous_format)
    assert len(batch.labels) == len(batch.inputs) == size
    assert torch.equal(batch.inputs[:, 0], (batch.ids - 100) * 3.0)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        batches(0, 4)


def test_processes_share_every_batch():
    whole = batches(10, 4).at(3, memory_format=torch.contiguous_format).ids
    shares = []
    for rank in range(2):
        made = batches(10, 4)
        made.share_(rank=rank, ranks=2)
        shares.append(made.at(3, memory_format=torch.contiguous_format).ids)
    assert torch.equal(torch.stack(shares, 1).flatten(), whole)
    with pytest.raises(ConfigError, match="shared equally by 3"):
        batches(10, 4).share_(rank=0, ranks=3)


class Two(nn.Module):
    """Named inputs, an output object, and a frozen part in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, a, b):
        return {"logits": self.drop(self.linear(a + b))}


def test_predict_evaluates_in_fp32_and_restores_every_flag():
    module = Two()
    module.train()
    module.linear.eval()
    n = 1100
    x = torch.randn(n, 3)
    both = Rows({"a": x, "b": x}, torch.zeros(n, dtype=torch.int64), torch.arange(n))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = predict(module, both)
    assert outputs.logits.dtype == torch.float32
    torch.testing.assert_close(outputs.logits, module.linear(2 * x).detach())
    assert module.training
    assert module.drop.training
    assert not module.linear.training
    assert not outputs.logits.is_inference()
    assert all(p.grad is None for p in module.parameters())


def test_predictions_of_one_batch_do_not_depend_on_the_rows_that_follow():
    module, some = nn.Linear(3, 2), rows(1500)
    whole = predict(module, some).logits
    assert torch.equal(whole[:1024], predict(module, some.take(torch.arange(1024))).logits)


def test_no_rows_give_no_outputs():
    assert predict(nn.Linear(3, 2), rows(0)).logits.shape == (0, 2)


def test_a_broken_model_is_not_predicted_with():
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, float("inf"))
    with pytest.raises(NonFiniteError, match="of 5 rows"):
        predict(module, rows(5))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
        self.b.weight = self.a.weight
        self.register_buffer("scratch", torch.ones(2), persistent=False)


def test_tied_parameters_have_one_tensor_and_the_first_name_counts():
    module = Tied()
    tensors = module_tensors(module)
    assert tensors["a.weight"] is tensors["b.weight"]
    assert "scratch" not in tensors
    tensors["a.weight"] = torch.full((2, 2), 5.0)
    load_module_(module, tensors)
    assert torch.equal(module.b.weight, torch.full((2, 2), 5.0))


@pytest.mark.parametrize("change", [{"a.weight": torch.ones(3)}, {"a.weight": None}])
def test_foreign_tensors_are_refused(change):
    tensors = {k: v for k, v in (module_tensors(Tied()) | change).items() if v is not None}
    with pytest.raises(ModelError, match="another model"):
        load_module_(Tied(), tensors)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_weights_are_found_and_huge_ones_are_not(value):
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, 3e38)
    require_finite(module, where="here")
    with torch.no_grad():
        module.weight[0, 0], module.weight[1, 0] = value, -value
    with pytest.raises(NonFiniteError, match=r"here: 'weight'"):
        require_finite(module, where="here")
