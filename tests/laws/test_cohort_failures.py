"""What ends the training of one model of a cohort ends no other, and a lock is waited for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.cohorts import patience, processes
from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.ray import gpus_of, train_on_ray
from safecompress.config import EngineConfig, ShadowsConfig
from safecompress.errors import BusyRunError, NonFiniteError, StorageError, WorkerError
from tests.laws.test_cohort_laws import digests, plan

ERRORS = {
    "lock": BusyRunError("held"),
    "lost": WorkerError("lost"),
    "wild": NonFiniteError("diverged"),
    "full": StorageError("no space"),
}
ENDS_ALL = {"wild", "full"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    monkeypatch.setattr(patience, "_BETWEEN", 0.05)
    return lambda seconds: monkeypatch.setattr(patience, "PATIENCE", seconds)


def held(cohort: Cohort, number: int) -> FileLock:
    (folder := cohort.folder / f"{number:04d}").mkdir()
    lock = FileLock(folder / ".lock", thread_local=False)
    lock.acquire()
    return lock


def test_a_lock_that_outlives_its_machine_is_waited_for(
    tmp_path: Path, impatient: Callable[[float], None]
) -> None:
    impatient(60)
    cohort, alone = (Cohort.begin(tmp_path / name, plan()) for name in ("held", "alone"))
    lock = held(cohort, 1)
    threading.Timer(1.0, lock.release).start()
    cohort.train_together([0, 1])
    alone.train_together([0, 1])
    assert digests(cohort.folder) == digests(alone.folder)


def test_a_lock_that_is_never_released_costs_one_model(
    tmp_path: Path, impatient: Callable[[float], None]
) -> None:
    impatient(0.2)
    cohort = Cohort.begin(tmp_path, plan())
    lock = held(cohort, 0)
    with pytest.raises(BusyRunError, match="another process is working"):
        cohort.train_together([0, 1])
    lock.release()
    assert cohort.missing(2) == [0]


def test_signs_of_life_are_waited_for(tmp_path: Path, impatient: Callable[[float], None]) -> None:
    impatient(0.3)
    (state := tmp_path / "0004" / "state").mkdir(parents=True)
    waiting = patience.Patience(tmp_path)
    for serial in range(12):
        (state / f"{serial}.json").touch()
        assert waiting.wait_for([4])
    assert any(not waiting.wait_for([4]) for _ in range(20))


def expected(kinds: Sequence[str]) -> tuple[list[int], str]:
    """Return which models are trained one after the other, and the kind of error that is raised."""
    trained, first = [], ""
    for number, kind in enumerate(kinds):
        if not kind:
            trained.append(number)
        elif kind in ENDS_ALL:
            return trained, kind
        else:
            first = first or kind
    return trained, first


kinds_of_models = st.lists(st.sampled_from(["", *ERRORS]), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(kinds_of_models)
def test_only_errors_that_meet_all_models_end_the_others(kinds: list[str]) -> None:
    class Worker:
        def __init__(self, *_: Any) -> None: ...

        def train(self, numbers: Sequence[int]) -> None:
            if kind := kinds[numbers[0]]:
                raise ERRORS[kind]

        def end(self) -> None: ...

    def local(trained: Callable[[Sequence[int]], None]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "_Worker", Worker)
            groups = [[n] for n in range(len(kinds))]
            processes._train_locally(Path(), groups, 1, 1, trained)

    def here(trained: Callable[[Sequence[int]], None]) -> None:
        cohort: Any = SimpleNamespace(
            at_once=lambda model: 1,
            train_together=lambda numbers, model: Worker().train(numbers),
        )
        processes._train_here(cohort, list(range(len(kinds))), None, trained)

    trained_ones, kind = expected(kinds)
    for train in (local, here):
        done: list[int] = []
        if kind:
            with pytest.raises(type(ERRORS[kind])):
                train(done.extend)
        else:
            train(done.extend)
        assert done == trained_ones


class FakeRay:
    """As much of Ray as is needed to see what is asked of it; a task runs when it is waited for."""

    class exceptions:
        RayError = RuntimeError

    def __init__(self, kinds: Sequence[str], resources: dict[str, float]) -> None:
        self.kinds, self.resources = kinds, resources
        self.asked: dict[str, Any] = {}
        self.most, self.running = 0, 0

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **asked: Any) -> Callable[[Any], Any]:
        self.asked = asked

        def submit(folder: str, number: int, threads: int) -> int:
            self.running += 1
            self.most = max(self.most, self.running)
            return number

        return lambda body: SimpleNamespace(remote=submit)

    def wait(self, tasks: list[int]) -> tuple[list[int], list[int]]:
        self.running -= 1
        return tasks[:1], tasks[1:]

    def get(self, number: int) -> None:
        if kind := self.kinds[number]:
            error = RuntimeError()
            error.cause = ERRORS[kind]  # type: ignore[attr-defined]
            raise error

    def cancel(self, task: int, force: bool) -> None:
        raise AssertionError("nobody's work is cancelled")


@settings(max_examples=40, deadline=None)
@given(kinds_of_models, st.integers(1, 4), st.sampled_from([{}, {"GPU": 4.0}]))
def test_tasks_are_bounded_ask_for_gpus_and_end_none_of_the_others(kinds, most, resources) -> None:
    ray = FakeRay(kinds, resources)
    cohort: Any = SimpleNamespace(
        folder=Path(), plan=SimpleNamespace(config=SimpleNamespace(engine=EngineConfig()))
    )
    done: list[int] = []
    raised = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ray", ray)
        numbers = range(len(kinds))
        try:
            train_on_ray(cohort, numbers, threads=2, most=most, trained=done.append)
        except tuple(type(error) for error in ERRORS.values()) as error:
            raised = error
    assert ray.asked == {"num_cpus": 2, "num_gpus": int("GPU" in resources), "max_retries": 2}
    assert ray.most <= most
    assert (raised is None) == (not any(kinds))
    # What ran beside a failing task was let finish, and what all models would meet began no more.
    assert {n for n, kind in enumerate(kinds) if not kind} >= set(done) >= set(expected(kinds)[0])
    if not ENDS_ALL & set(kinds):
        assert done == expected(kinds)[0]


@pytest.mark.parametrize(
    ("settings_", "resources", "gpus"),
    [
        ({}, {}, 0),
        ({}, {"GPU": 2.0}, 1),
        ({"accelerator": "gpu"}, {}, 1),
        ({"accelerator": "gpu", "devices": 4}, {"GPU": 8.0}, 4),
        ({"accelerator": "gpu", "devices": "auto"}, {"GPU": 8.0}, 1),
        ({"accelerator": "cpu"}, {"GPU": 8.0}, 0),
        ({"accelerator": "mps"}, {"GPU": 8.0}, 0),
    ],
)
def test_a_task_asks_for_what_the_configuration_gives_a_run(settings_, resources, gpus) -> None:
    assert gpus_of(EngineConfig(**settings_), resources) == gpus


def test_a_moved_cohort_keeps_its_dense_models_beside_it(tmp_path: Path) -> None:
    old = replace(plan(), shared=tmp_path / "a" / "shared")
    Cohort.begin(tmp_path / "a" / "cell", old)
    (tmp_path / "a").rename(tmp_path / "b")
    Cohort.begin(tmp_path / "b" / "cell", replace(old, shared=tmp_path / "b" / "shared"))
    assert Cohort.open(tmp_path / "b" / "cell").plan.shared == tmp_path / "b" / "shared"


def test_a_model_object_says_that_it_is_trained_here(tmp_path: Path) -> None:
    said: list[str] = []
    cohort: Any = SimpleNamespace(
        missing=lambda count: [0],
        plan=SimpleNamespace(config=SimpleNamespace(engine=EngineConfig())),
        at_once=lambda model: 1,
        train_together=lambda numbers, model: None,
    )
    for backend, notes in (("ray", 1), ("local", 0)):
        where = ShadowsConfig(count=4, workers=1, backend=backend)  # type: ignore[arg-type]
        said.clear()
        processes.train_cohort(
            cohort,
            4,
            where,
            model=lambda: None,
            listen=lambda event: said.append(event.kind),  # type: ignore
        )
        assert said.count("note") == notes
