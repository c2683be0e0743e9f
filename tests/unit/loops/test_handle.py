"""`SparseTraining`: a plain loop with masks, tests, checkpoints and a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from safecompress import SparseTraining, Splits, compress, load
from safecompress.errors import (
    ConfigError,
    MembershipError,
    ModelError,
    RunFolderError,
    UsageError,
)
from safecompress.report import write_report
from tests.unit.loops.test_trainers import FEW_CHECKS, same, table_splits

STEPS = 12


@pytest.fixture(scope="module")
def splits() -> Splits:
    return table_splits()


def make() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 2))


def config(**sparse: Any) -> dict[str, Any]:
    return {"sparse": {"density": 0.3, "rounds": 3} | sparse, "verdict": FEW_CHECKS}


def begun(splits: Splits, out: Path, **options: Any) -> tuple[Any, Any, SparseTraining]:
    torch.manual_seed(0)
    model = options.pop("model", None) or make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loop = SparseTraining(
        model, optimizer, splits, **{"steps": STEPS, "config": config(), "out": out} | options
    )
    return model, optimizer, loop


def batches(splits: Splits) -> Iterator[tuple[Tensor, Tensor]]:
    rows = splits.members
    for start in range(0, len(rows), 16):
        yield rows.inputs[start : start + 16], rows.labels[start : start + 16]


def take_steps(splits: Splits, model: Any, optimizer: Any, loop: SparseTraining, end: int) -> None:
    every = list(batches(splits))
    while loop.step < end:
        x, y = every[loop.step % len(every)]
        optimizer.zero_grad()
        torch.manual_seed(loop.step)
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if loop.step % 4 == 0:
            loop.test()


@pytest.fixture(scope="module")
def whole(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model, optimizer, loop = begun(splits, tmp_path_factory.mktemp("whole") / "run")
    with loop:
        take_steps(splits, model, optimizer, loop, STEPS)
        return model.eval(), loop.finish()


def test_the_run_folder_is_that_of_any_run(whole: Any) -> None:
    model, run = whole
    assert same(run.model, model)
    assert same(load(run.folder, model=make), model)
    assert run.verdict.document.model.density == pytest.approx(0.3, abs=0.01)
    assert run.verdict.document.model.lineage == ("rigl",) * 3
    history = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [4, 8, 12]
    assert write_report(run.folder).is_file()
    said = " ".join(run.verdict.document.limits)
    assert "loop of its owner's own (plain PyTorch; 12 steps)" in said
    assert "64 of the 64 members exactly as they are" in said
    assert "shadow" in run.verdict.document.scope


def test_it_is_not_resumed_as_if_the_engine_had_trained_it(splits: Splits, tmp_path: Path) -> None:
    _, _, loop = begun(splits, tmp_path / "run")
    loop.close()
    with pytest.raises(RunFolderError, match="loop of your own"):
        compress(make, splits, resume=tmp_path / "run")
    with pytest.raises(RunFolderError, match="same loop"):
        begun(splits, tmp_path / "run")


def test_a_resumed_loop_ends_in_the_same_bits(splits: Splits, whole: Any, tmp_path: Path) -> None:
    model, optimizer, loop = begun(splits, tmp_path / "run")
    with loop:
        take_steps(splits, model, optimizer, loop, 7)
        saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(saved | {"masks": loop.state_dict()}, tmp_path / "at7.pt")
        take_steps(splits, model, optimizer, loop, 9)
    back = torch.load(tmp_path / "at7.pt", weights_only=True)
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    options = {"steps": STEPS, "config": config(), "out": tmp_path / "run"}
    with pytest.raises(ModelError, match="load the weights"):
        SparseTraining(model, optimizer, splits, **options, resume=back["masks"])
    model.load_state_dict(back["model"])
    optimizer.load_state_dict(back["optimizer"])
    with pytest.raises(RunFolderError, match="steps"):
        SparseTraining(model, optimizer, splits, **options | {"steps": 99}, resume=back["masks"])
    with SparseTraining(model, optimizer, splits, **options, resume=back["masks"]) as loop:
        take_steps(splits, model, optimizer, loop, STEPS)
        run = loop.finish()
    assert same(run.model, whole[0])
    assert run.verdict.status == whole[1].verdict.status
    assert run.verdict.document.model.sha256 == whole[1].verdict.document.model.sha256


def test_tests_leave_the_random_numbers_of_the_loop_alone(splits: Splits, tmp_path: Path) -> None:
    model, _, loop = begun(splits, tmp_path / "run")
    with loop:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        figures = loop.test()
        assert torch.equal(torch.rand(3), expected)
        assert model.training
    assert {"accuracy", "density", "loss.auc", "modified-entropy.auc"} <= set(figures)


def test_gradual_pruning_ends_at_its_density(splits: Splits, tmp_path: Path) -> None:
    sparse = {"density": 0.3, "initialize": "gradual-global", "gradual": {"cuts": 4}}
    settings = {"sparse": sparse, "verdict": FEW_CHECKS}
    model, optimizer, loop = begun(splits, tmp_path / "run", config=settings)
    seen = [loop.density]
    with loop:
        while loop.step < STEPS:
            take_steps(splits, model, optimizer, loop, loop.step + 1)
            seen.append(loop.density)
        assert loop.finish().verdict.document.model.density == pytest.approx(0.3, abs=0.01)
    assert seen[0] == 1.0
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5


def test_the_best_tested_model_is_judged_if_asked(splits: Splits, tmp_path: Path) -> None:
    model, optimizer, loop = begun(splits, tmp_path / "run", choose="best")
    with loop:
        take_steps(splits, model, optimizer, loop, STEPS)
        best = {k: v.clone() for k, v in loop._tests.best.weights.items()}
        with torch.no_grad():
            model[0].bias.add_(100.0)
        assert not same(loop.finish().model, model)
    stored = load(tmp_path / "run", model=make).state_dict()
    assert all(torch.equal(stored[name], value) for name, value in best.items())


def test_rows_that_are_not_the_members_end_without_a_verdict(
    splits: Splits, tmp_path: Path
) -> None:
    others = splits.steer.nonmembers
    for number, (rows, said) in enumerate(
        [(others, "held out"), (splits.members.take(torch.arange(20)), "20 of the 64")]
    ):
        model, optimizer, loop = begun(splits, tmp_path / f"run{number}")
        with loop:
            nn.functional.cross_entropy(model(rows.inputs), rows.labels).backward()
            optimizer.step()
            with pytest.raises(MembershipError, match=said):
                loop.finish()
            # Asking a model in evaluation mode trains nothing.
        assert not (tmp_path / f"run{number}" / "verdict.json").exists()


def test_weights_of_other_masks_are_refused(splits: Splits, tmp_path: Path) -> None:
    model, optimizer, loop = begun(splits, tmp_path / "run")
    dense = {name: value + 1 for name, value in model.state_dict().items()}
    with loop:
        take_steps(splits, model, optimizer, loop, STEPS)
        model.load_state_dict(dense)
        with pytest.raises(ModelError, match="beside the optimizer"):
            loop.finish()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shadows": {"count": 8}}, "shadow models repeat"),
        ({"dense": {"epochs": 3}}, "your loop trains"),
        ({"steer": {"defenses": ["dp-sgd"]}}, "changes the training"),
        ({"steer": {"proposals": ["rigl", "set"]}}, "one path"),
        ({"steer": {"proposals": ["student"]}}, "needs"),
        ({"sparse": {"density": 0.3, "initialize": "student-global"}}, "trains models before"),
        ({"sparse": {"density": 0.3, "initialize": "magnitude-global"}}, "dense"),
        ({"sparse": {"density": 0.3, "train": {"epochs": 3}}}, "your loop trains"),
        ({"sparse": {"density": 0.3, "rounds": 99}}, "12 steps"),
        ({"verdict": {"canaries": {"count": 20}}}, "canaries are put into"),
    ],
)
def test_settings_that_a_loop_does_not_honor_are_refused(
    splits: Splits, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        begun(splits, tmp_path / "run", config={"sparse": {"density": 0.3}} | settings)


def test_steps_and_choices_are_checked(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        begun(splits, tmp_path / "run", steps=0)
    wrapped = make()
    nn.utils.parametrizations.weight_norm(wrapped[0])
    with pytest.raises(ModelError, match="plain module"):
        begun(splits, tmp_path / "run", model=wrapped)
