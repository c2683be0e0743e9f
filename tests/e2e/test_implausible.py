"""Every way into an audit and a run refuses the same implausible model with the same words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from pytest_safecompress import assert_safe
from safecompress import audit, compress, record, splits_from_arrays
from safecompress.checks.plausibility import objection_to
from safecompress.cli.app import app
from safecompress.errors import ModelError
from tests.wirings import Wiring, wired

Group = tuple[Any, Any]


def module_of(found: Wiring) -> nn.Module:
    """Return the fitted network as a module of torch."""
    layers: list[nn.Module] = []
    for weights, bias in zip(found.model.coefs_, found.model.intercepts_, strict=True):
        layer = nn.Linear(*weights.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights.T))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def groups_of(found: Wiring) -> tuple[Group, Group]:
    x, n = found.x.astype(np.float32), found.n
    return (x[:n], found.y[:n]), (x[n:], found.y[n:])


def file_of(found: Wiring, folder: Path) -> Path:
    path, n = folder / "outputs.npz", found.n
    z = found.z.astype(np.float32)
    parts = {"member": slice(0, n), "nonmember": slice(n, None)}
    logits = {f"{name}_logits": z[part] for name, part in parts.items()}
    labels = {f"{name}_labels": found.y[part] for name, part in parts.items()}
    np.savez(path, **logits, **labels)
    return path


def compressed(found: Wiring, folder: Path) -> None:
    members, others = groups_of(found)
    splits = splits_from_arrays(
        *members, test=others, split={"membership": "pair"}, weights_given=True, seed=0
    )
    train = {"epochs": 1, "precision": "32-true"}
    sparse = {"density": 0.5, "rounds": 0, "train": train}
    compress(module_of(found), splits, config={"sparse": sparse}, out=folder / "run")


Way = Callable[[Wiring, Path], object]
WAYS: dict[str, Way] = {
    "a module": lambda f, _: audit(module_of(f), groups_of(f)),
    "a callable": lambda f, _: audit(module_of(f).forward, groups_of(f)),
    "a record": lambda f, _: audit(record(module_of(f), *groups_of(f))),
    "a file of outputs": lambda f, folder: audit(file_of(f, folder)),
    "a test": lambda f, _: assert_safe(module_of(f), groups_of(f)),
    "a run": compressed,
}
RIGHT = wired("network", n=800)
FAULTS = {
    "labels rolled": RIGHT.labeled((RIGHT.y + 1) % 5),
    "columns reversed": RIGHT.fed(RIGHT.x[:, ::-1].copy()),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_in_refuses_with_the_same_words(way: str, fault: str, tmp_path: Path) -> None:
    found = FAULTS[fault]
    objection = objection_to(found.outputs(), found.rows())
    assert objection is not None
    assert objection.proven
    with pytest.raises(ModelError) as caught:
        WAYS[way](found, tmp_path)
    words = re.sub(r"\d+(\.\d+)?", "#", f"{objection.text} A verdict would be a false PASS.")
    assert re.sub(r"\d+(\.\d+)?", "#", str(caught.value)).endswith(words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_baseline_is_refused_by_its_own_name() -> None:
    found = FAULTS["labels rolled"]
    labels = (found.x[:, :5]).argmax(axis=1)
    other = found.labeled(labels)
    with pytest.raises(ModelError, match=r"^Sequential: "):
        audit(lambda x: 3 * x[:, :5], groups_of(other), baseline=module_of(found))


def test_a_configuration_is_refused_before_training_and_told_the_accuracy(tmp_path: Path) -> None:
    # The family flattens its inputs first, so its layers count from 1.
    state = {f"layers.{int(k[0]) + 1}{k[1:]}": v for k, v in module_of(RIGHT).state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    (x, y), (test_x, test_y) = groups_of(RIGHT)
    options = {"hidden": [100]}
    for name, labels in (("right", y), ("wrong", (y + 1) % 5)):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels, test_x=test_x, test_y=test_y)
        (tmp_path / f"{name}.yaml").write_text(
            f"data:\n  source: {{source: npz, path: {tmp_path}/{name}.npz, "
            "test_x: test_x, test_y: test_y}\n"
            "  split: {membership: pair}\n"
            f"model: {{name: mlp, options: {options}, weights: {tmp_path}/weights.pt}}\n"
            "sparse: {density: 0.5, rounds: 0, train: {epochs: 1}}\n"
        )
    right = CliRunner().invoke(app, ["validate", str(tmp_path / "right.yaml")])
    accuracy = (RIGHT.z[:800].argmax(1) == RIGHT.y[:800]).mean()
    assert f"weights given: right on {accuracy:.1%} of the members" in right.output
    wrong = CliRunner().invoke(app, ["validate", str(tmp_path / "wrong.yaml")])
    assert isinstance(wrong.exception, ModelError)
    assert "in another order of the classes" in str(wrong.exception)


def test_weights_that_saw_none_of_the_rows_may_know_nothing_of_them() -> None:
    from safecompress.compression.prepare import prepare
    from safecompress.config import load_config

    found = FAULTS["labels rolled"]
    splits = splits_from_arrays(
        found.x, found.y, split={"membership": "unseen"}, weights_given=True, seed=0
    )
    config = load_config({"sparse": {"density": 0.5, "rounds": 0, "train": {"epochs": 1}}})
    assert prepare(config, module_of(found), splits).accuracy is None


NOISY = wired("network", n=800, noise=0.4)
SCALED = NOISY.fed((NOISY.raw - NOISY.raw.min(0)) / (NOISY.raw.max(0) - NOISY.raw.min(0)))


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"a file of outputs"}))
def test_a_model_that_can_be_asked_tells_how_its_inputs_were_prepared(
    way: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        WAYS[way](SCALED, tmp_path)
    assert "Likely wrong preprocessing (a forgotten scaler" in str(caught.value)
    assert not (tmp_path / "run").exists()
