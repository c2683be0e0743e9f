"""The ledger counts distinct models, loses nothing, and never counts too few."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest

from safecompress.data import Ledger
from safecompress.errors import StorageError


@pytest.mark.parametrize("in_memory", [True, False])
def test_distinct_models_are_counted_per_sealed_rows(tmp_path, in_memory):
    ledger = Ledger(None if in_memory else tmp_path / "runs" / "ledger.jsonl")
    looks = [ledger.look(s, m, run="r") for s, m in ["1a", "1b", "1a", "2a", "1c", "2a"]]
    assert looks == [1, 2, 2, 1, 3, 1]


def test_looks_are_kept_for_the_next_process_and_readable(tmp_path):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).look("sealed", "a", run="one")
    assert Ledger(path).look("sealed", "b", run="two") == 2
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["sealed"], e["model"], e["run"]) for e in entries] == [
        ("sealed", "a", "one"),
        ("sealed", "b", "two"),
    ]
    assert Ledger(None).look("sealed", "a", run="") == 1


@pytest.mark.parametrize("damage", ["{torn", "[]", '{"sealed": 1', "\x00\x00", "null"])
def test_damage_counts_as_a_look_and_is_not_glued_to_the_next_line(tmp_path, damage):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).look("s", "a", run="")
    with path.open("a") as handle:
        handle.write(damage)
    assert [Ledger(path).look("s", model, run="") for model in "bcb"] == [3, 4, 4]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "ledger.jsonl"):
        with pytest.raises(StorageError, match="ledger"):
            Ledger(path).look("s", "m", run="")


def look_often(path: Path, name: str, times: int) -> None:
    read = os.pread

    def slow_read(*arguments):
        content = read(*arguments)
        time.sleep(0.002)  # leaves the other process time to get in between reading and writing
        return content

    os.pread = slow_read
    ledger = Ledger(path)
    counts = [ledger.look("sealed", f"{name}{i}", run=name) for i in range(times)]
    path.with_name(name).write_text(json.dumps(counts))


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_two_processes_at_once_lose_no_look(tmp_path):
    path, times = tmp_path / "ledger.jsonl", 40
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=look_often, args=(path, n, times)) for n in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(path.read_text().splitlines()) == 2 * times
    counts = [n for name in "ab" for n in json.loads(path.with_name(name).read_text())]
    assert sorted(counts) == list(range(1, 2 * times + 1))
    assert Ledger(path).look("sealed", "last", run="") == 2 * times + 1
