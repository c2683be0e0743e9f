"""Signals, listeners, clocks and memory: a run that is stopped anywhere ends the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress.candidate import UNCHANGED, Candidate
from safecompress.compression import prepare
from safecompress.errors import InterruptedRunError, MemoryShortageError, NonFiniteError
from safecompress.run import checkpoints
from safecompress.run.folder import VERDICT, read_history
from safecompress.train import Trainer
from tests.small_runs import Stopped, begin, go_on, kept, one_message, result, stopping_at

pytestmark = pytest.mark.usefixtures("brisk_runs")


# Signals and listeners

PLACES = [
    ("stage", 1),
    ("progress", 1),
    ("progress", 5),
    ("saved", 1),
    ("candidate", 1),
    ("candidate", 4),
    ("selected", 1),
    ("saved", 3),
    ("check", 2),
]


@pytest.mark.parametrize(("kind", "number"), PLACES)
def test_control_c_at_any_place_loses_nothing(
    kind: str, number: int, folder: Path, whole: dict[str, Any]
) -> None:
    with pytest.raises(InterruptedRunError, match="--resume") as caught:
        begin(folder, stopping_at(kind, number, KeyboardInterrupt()))
    assert str(folder) in one_message(caught.value, code=130)
    kept(folder)
    go_on(folder)
    assert result(folder) == whole


@pytest.mark.parametrize("function", ["write_tensors", "write_json"])
@pytest.mark.parametrize("number", [1, 7])
def test_control_c_inside_a_commit_loses_nothing(
    function: str, number: int, folder: Path, whole: dict[str, Any]
) -> None:
    original: Callable[..., None] = getattr(checkpoints, function)
    calls = 0

    def interrupted(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        original(*arguments)
        if calls == number:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, function, interrupted)
        with pytest.raises(InterruptedRunError):
            begin(folder)
    kept(folder)
    go_on(folder)
    assert result(folder) == whole


@pytest.mark.parametrize(("kind", "number"), PLACES)
def test_a_listener_that_raises_ends_the_run_and_harms_nothing(
    kind: str, number: int, folder: Path, whole: dict[str, Any]
) -> None:
    with pytest.raises(Stopped, match=f"{kind} {number}"):
        begin(folder, stopping_at(kind, number))
    kept(folder)
    go_on(folder)
    assert result(folder) == whole


# Clocks

JUMPS = {"forwards": 1e9, "backwards": -1e9}


@pytest.mark.parametrize("direction", JUMPS)
@pytest.mark.parametrize("number", [1, 30])
def test_a_clock_that_jumps_changes_no_result(
    direction: str, number: int, folder: Path, whole: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("time", "monotonic", "perf_counter"):
            patch.setattr(time, name, jumping(getattr(time, name), JUMPS[direction], number))
        with pytest.raises(Stopped):
            begin(folder, stopping_at("candidate", 3))
        go_on(folder)
    assert result(folder) == whole


def jumping(clock: Callable[[], float], by: float, number: int) -> Callable[[], float]:
    calls = 0

    def jumped() -> float:
        nonlocal calls
        calls += 1
        return clock() + (by if calls >= number else 0.0)

    return jumped


# Memory and numbers

SHORTAGES: dict[str, BaseException] = {
    "Python": MemoryError(),
    "GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore"),
    "CPU": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
}


def raising_for(
    patch: pytest.MonkeyPatch,
    method: str,
    wanted: Callable[[Candidate], bool],
    error: BaseException,
) -> None:
    """Make a trainer's method raise for the candidates that are wanted, but not in the dry run."""
    original: Callable[..., Any] = getattr(Trainer, method)
    rehearsed, dry = prepare.rehearse_stages, []

    def rehearsing(*arguments: Any, **options: Any) -> Any:
        dry.append(True)
        try:
            return rehearsed(*arguments, **options)
        finally:
            dry.pop()

    def raising(self: Trainer, candidate: Candidate, *arguments: Any) -> Any:
        if not dry and wanted(candidate):
            raise error
        return original(self, candidate, *arguments)

    patch.setattr(Trainer, method, raising)
    patch.setattr(prepare, "rehearse_stages", rehearsing)


def by_rigl(candidate: Candidate) -> bool:
    return candidate.lineage[-1:] == ("rigl",)


@pytest.mark.parametrize("method", ["train", "outputs"])
@pytest.mark.parametrize("shortage", SHORTAGES)
def test_a_candidate_without_memory_is_discarded_and_the_loop_goes_on(
    shortage: str, method: str, folder: Path
) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        raising_for(patch, method, by_rigl, SHORTAGES[shortage])
        run = begin(folder, lambda event: lines.append(event.text))
    history = read_history(folder)
    lost = [line for line in history if line["proposal"] == "rigl"]
    assert [line["status"] for line in lost] == ["discarded"] * 2
    assert all(line["reason"].startswith("out of memory: ") for line in lost)
    assert all("\n" not in line["reason"] and not line["selected"] for line in lost)
    assert [line["selected"] for line in history if line not in lost] == [True, True]
    assert sum("discarded (out of memory" in line for line in lines) == 2
    assert (folder / VERDICT).exists()
    assert run.verdict.exit_code in {0, 1, 3}


def test_the_twin_of_a_candidate_without_memory_is_tried_in_its_stead(folder: Path) -> None:
    """In the last round nothing is dropped any more, so both proposals make the same candidate."""
    steer = {"search": "every-round", "proposals": ["rigl", "set"], "attacks": ["loss"]}
    begin(folder.parent / "whole", steer=steer)
    assert read_history(folder.parent / "whole")[-1]["reason"] == "the same as r2p1c1"
    with pytest.MonkeyPatch.context() as patch:
        raising_for(patch, "train", by_rigl, MemoryError())
        raising_for(patch, "train_together", lambda _: True, MemoryError())
        begin(folder, steer=steer)
    assert [line["selected"] for line in read_history(folder)] == [False, True, False, True]


@pytest.mark.parametrize("method", ["train", "outputs"])
def test_a_candidate_of_nan_is_discarded_and_the_loop_goes_on(method: str, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        raising_for(patch, method, by_rigl, NonFiniteError("planted NaN"))
        begin(folder)
    reasons = [line["reason"] for line in read_history(folder) if line["proposal"] == "rigl"]
    assert reasons == ["planted NaN"] * 2


def test_where_no_candidate_has_memory_the_parent_goes_on(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        raising_for(patch, "outputs", lambda c: bool({*c.lineage} - {UNCHANGED}), MemoryError())
        begin(folder)
    history = read_history(folder)
    assert [line["status"] for line in history] == ["discarded"] * 4
    assert not any(line["selected"] for line in history)


@pytest.mark.parametrize("shortage", SHORTAGES)
@pytest.mark.parametrize("step", [0, 4])
def test_a_parent_without_memory_ends_the_run_resumably(
    shortage: str, step: int, folder: Path, whole: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        raising_for(patch, "train", lambda c: c.step == step, SHORTAGES[shortage])
        with pytest.raises(MemoryShortageError, match=r"out of memory: .*--resume") as caught:
            begin(folder)
    one_message(caught.value, code=4)
    kept(folder)
    go_on(folder)
    assert result(folder) == whole


def test_another_runtime_error_is_no_shortage_of_memory(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        raising_for(patch, "train", by_rigl, RuntimeError("a bug of a proposal"))
        with pytest.raises(RuntimeError, match="a bug of a proposal"):
            begin(folder)
    kept(folder)
