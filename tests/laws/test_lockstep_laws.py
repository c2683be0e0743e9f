"""Laws of lockstep: models trained side by side are those trained alone, also when interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress.cohorts.cohort import Cohort
from safecompress.compression import lockstep
from safecompress.compression.lockstep import Training, in_lockstep
from safecompress.compression.trainers import Trainers
from safecompress.errors import NonFiniteError
from safecompress.events import Event
from safecompress.train import Task, side_by_side
from tests.laws.test_cohort_laws import CONFIG, digests, plan
from tests.small_runs import Stopped

PERCEPTRON = {"name": "mlp", "options": {"hidden": [16]}}


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of networks whose steps were taken in one."""
    seen: list[int] = []
    together = side_by_side._in_one

    def counted(tasks: Sequence[Task]) -> Any:
        seen.append(len(tasks))
        return together(tasks)

    monkeypatch.setattr(side_by_side, "_in_one", counted)
    return seen


def alone(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Cohort:
    """Return a cohort of three whose models, and their teachers, were trained one by one."""
    cohort = Cohort.begin(folder, plan(**changes))
    with monkeypatch.context() as patch:
        patch.setattr(
            Trainers, "teachers_at_once", lambda _, numbers, module: [[n] for n in numbers]
        )
        for number in range(3):
            cohort.train(number)
    return cohort


@pytest.mark.parametrize("model", [CONFIG["model"], PERCEPTRON])
def test_side_by_side_equals_alone_also_after_an_interruption(
    model: Any, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digests(alone(tmp_path / "alone", monkeypatch, model=model).folder)
    assert not sizes
    beside = Cohort.begin(tmp_path / "beside", plan(model=model))
    left = 25

    def stop(event: Event) -> None:
        nonlocal left
        left -= event.kind == "progress"
        if not left:
            raise Stopped

    with pytest.raises(Stopped):
        beside.train_together(range(3), listen=stop)
    # One was stopped, the others went on to their end, without it.
    assert len(digests(beside.folder)) == 2
    beside.train_together(range(3))
    assert digests(beside.folder) == expected
    assert max(sizes) > 3, "several models with several teachers each"


def test_one_that_diverges_is_told_and_the_others_end(tmp_path: Path) -> None:
    wild = CONFIG["dense"] | {"lr": 1e30}
    cohort = Cohort.begin(tmp_path, plan(dense=wild))
    with pytest.raises(NonFiniteError, match="loss became"):
        cohort.train_together(range(2))
    assert cohort.missing(2) == [0, 1]


def test_only_one_run_is_awake_and_each_gets_its_own_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[list[Any]] = []

    def doubled(tasks: Sequence[Any]) -> list[Any]:
        calls.append(list(tasks))
        return [2 * task for task in tasks]

    monkeypatch.setattr(lockstep, "train_side_by_side", doubled)
    awake, said = 0, []

    def run(number: int, rounds: int, training: Training) -> None:
        nonlocal awake
        for k in range(rounds):
            awake += 1
            assert awake == 1
            awake -= 1
            tasks: Any = [100 * number + k] * (number + 1)
            said.append((number, k, training(tasks)))
        if number == 1:
            raise ValueError("at its end")

    runs = [lambda t, n=n: run(n, n + 1, t) for n in range(3)]
    errors = in_lockstep(runs)
    assert [type(e) for e in errors] == [type(None), ValueError, type(None)]
    assert all(answer == [2 * (100 * n + k)] * (n + 1) for n, k, answer in said)
    assert [len(call) for call in calls] == [1 + 2 + 3, 2 + 3, 3]


def test_an_interruption_ends_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(tasks: Sequence[Any]) -> list[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(lockstep, "train_side_by_side", interrupted)
    ended: list[int] = []

    def run(number: int, training: Training) -> None:
        try:
            training([])
        finally:
            ended.append(number)

    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        in_lockstep([lambda t, n=n: run(n, t) for n in range(3)])
    assert ended == [0, 1, 2]
    assert torch.get_num_threads() == before


def test_fewer_fit_side_by_side_the_larger_they_are(tmp_path: Path) -> None:
    def at_once(width: int) -> int:
        model = {"name": "mlp", "options": {"hidden": [width, width]}}
        return Cohort.begin(tmp_path / str(width), plan(model=model)).at_once()

    sizes = [at_once(width) for width in (16, 128, 1024, 3000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 16
    assert sizes[-1] == 1
