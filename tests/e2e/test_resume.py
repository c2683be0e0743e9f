"""A run killed at random points and resumed ends in the same bits as one left alone."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from safecompress.config import dump_yaml, load_config
from safecompress.run.checkpoints import serials
from safecompress.run.folder import CONFIG, HISTORY, MODEL, VERDICT, read_history
from tests.commands import Command
from tests.support import count

CONFIGURATION = """
seed: 3
data:
  source: {source: sklearn, name: digits}
  split: {rows: 700, members: 240, steer: 0.5, reference: 0.2}
model: {name: mlp, options: {hidden: [48], batch_norm: true, dropout: 0.1}}
dense: {epochs: 3, lr: 0.05, batch_size: 32, precision: 32-true}
sparse:
  density: 0.2
  rounds: 3
  train: {epochs: 6, lr: 0.05, batch_size: 32, precision: 32-true}
steer:
  proposals:
    - rigl
    - {set: {updates: 2}}
    - update: {drop: magnitude, grow: momentum}
  defenses: [adversarial]
  population: 2
engine: {threads: 1, checkpoint_seconds: 0}
"""
SEARCHES = {
    "every-round": (("steer.search=every-round", "sparse.settle_epochs=1"), (3, 6, 6)),
    "tournament": ((), (3, 2, 2)),
}
"""What is set for each search, and the candidates in its rounds."""


def start(*arguments: str) -> Command:
    return Command("compress", *arguments, "--quiet")


def without_seconds(value: Any) -> Any:
    """Drop what no two runs share: times, and the run's own name."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k not in {"seconds", "looks"}}
    if isinstance(value, list):
        return [without_seconds(v) for v in value]
    return value


@pytest.fixture(scope="module", params=list(SEARCHES))
def search(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def configuration(search: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(SEARCHES[search][0], tmp_path_factory.mktemp("config"))


def written(settings: Sequence[str], folder: Path) -> Path:
    """Write the configuration with these settings and return its path."""
    path = folder / "small.yaml"
    path.write_text(dump_yaml(load_config(yaml.safe_load(CONFIGURATION), assignments=settings)))
    return path


@pytest.fixture(scope="module")
def uninterrupted(configuration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    process = start(str(configuration), "--out", str(out)).ended()
    assert process.returncode in {0, 1, 3}, process.stderr
    return out


def kill_after(process: Command, folder: Path, *, commits: int, delay: float) -> bool:
    """Kill the process `delay` seconds after its `commits`-th checkpoint; False if it ended."""
    first = serial(folder)
    while process.poll() is None:
        if serial(folder) - first >= commits:
            time.sleep(delay)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.ended()
                return True
        time.sleep(0.002)
    return False


def serial(folder: Path) -> int:
    return max(serials(folder / "state"), default=0)


def test_killed_and_resumed_equals_uninterrupted(
    search: str, configuration: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    kills, draw = count(2, 15), random.Random(5)
    done = attempt = 0
    while done < kills:
        folder = tmp_path / f"run{attempt}"
        attempt += 1
        process = start(str(configuration), "--out", str(folder))
        while done < kills:
            killed = kill_after(
                process, folder, commits=draw.randint(0, 9), delay=draw.random() * 0.05
            )
            if not killed or not (folder / CONFIG).exists():
                break
            done += 1
            process = start("--resume", str(folder))
        process.ended()
        if not (folder / CONFIG).exists():
            continue
        assert process.returncode in {0, 1, 3}, process.stderr
        assert (folder / MODEL).read_bytes() == (uninterrupted / MODEL).read_bytes()
        assert without_seconds(read_history(folder)) == without_seconds(read_history(uninterrupted))
        ours, theirs = (
            without_seconds(json.loads((f / VERDICT).read_text())) for f in (folder, uninterrupted)
        )
        assert ours == theirs
    assert done >= kills
    assert (uninterrupted / HISTORY).read_text().count("\n") == sum(SEARCHES[search][1])


def test_control_c_says_how_to_go_on(tmp_path: Path) -> None:
    folder, configuration = tmp_path / "run", written((), tmp_path)
    # Long enough that this process, on a busy machine, is not the later one.
    process = start(str(configuration), "--out", str(folder), "--set", "dense.epochs=400")
    while process.poll() is None and serial(folder) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.ended(timeout=120)
    assert process.returncode == 130, process.stderr
    assert f"--resume {folder}" in process.stderr
    assert "Traceback" not in process.stderr
