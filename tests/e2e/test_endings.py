"""However a command ends, its files are whole and its exit code means what happened."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from safecompress.cli import endings
from safecompress.cli.verbs import VERBS
from safecompress.errors import InterruptedRunError, SafeCompressError
from safecompress_command import main
from tests import programs
from tests.commands import Command, command
from tests.recorded_outputs import arrays, saved


class PanicException(BaseException):
    """What such a library raises where it meets a bug of its own."""


def subclasses(kind: type[BaseException]) -> list[type[BaseException]]:
    return [kind, *(deeper for k in kind.__subclasses__() for deeper in subclasses(k))]


RAISED = [
    (MemoryError(), 4),
    (RecursionError("deep"), 4),
    (PanicException("a bug in Rust"), 4),
    (BrokenPipeError(32, "Broken pipe"), 4),
    (OSError(28, "No space left on device"), 4),
    (EOFError(), 4),
    (UnicodeEncodeError("ascii", "≤", 0, 1, "no"), 4),
    (KeyboardInterrupt(), 130),
    (endings.EndedError(signal.SIGTERM), 143),
    (endings.EndedError(signal.SIGHUP), 129),
    *[(kind("told"), kind.exit_code) for kind in subclasses(SafeCompressError)],  # type: ignore
]


@pytest.mark.parametrize(("raised", "code"), RAISED, ids=lambda value: repr(value)[:40])
def test_whatever_a_verb_raises_never_looks_like_a_verdict(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("safecompress.cli.report.write_report", fail)
    monkeypatch.setattr(sys, "argv", ["safecompress", "report", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert code not in {0, 1, 3}
    assert "safecompress: " in capsys.readouterr().err


def test_a_run_that_a_signal_ended_says_how_to_go_on(monkeypatch, capsys) -> None:
    def run() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt as error:
            raise InterruptedRunError("go on with: this") from error

    # Ray leaves a handler of its own in a process that has started a cluster.
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended:
            endings.run_to_an_end(run)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert "go on with: this" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_an_interrupted_verb_says_what_is_kept_and_which_command_goes_on(
    verb: str, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(sys, "argv", ["safecompress", verb, "my file.yaml", "--quiet"])

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        endings.run_to_an_end(stop)
    assert ended.value.code == 130
    said = capsys.readouterr().err
    assert f"safecompress {verb} 'my file.yaml' --quiet" in said
    assert ("are kept. Go on with: " in said) == (verb in {"compare", "audit", "release"})


def test_a_terminated_comparison_goes_on_with_the_command_that_it_names(tmp_path: Path) -> None:
    train = {"epochs": 1, "precision": "32-true"}
    recipe = {
        "data": {
            "source": {"source": "sklearn", "name": "make_classification"},
            "split": {"membership": "fresh", "members": 40},
        },
        "model": {"name": "mlp", "options": {"hidden": [4]}},
        "dense": train,
        "sparse": {"density": 0.5, "train": train},
        "engine": {"threads": 1, "accelerator": "cpu"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    dense = {"set": ["sparse.rounds=0", "sparse.train.epochs=0"], "densities": [1]}
    comparison = {
        "data": {"toy": {"config": str(tmp_path / "recipe.yaml")}},
        "methods": {"dense": dense},
        **{"models": 4, "workers": 1, "attacks": ["loss"], "out": str(tmp_path / "out")},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(comparison))
    words = ["compare", str(tmp_path / "c.yaml"), "--quiet"]
    first = command(*words, program=programs.stopped_comparison)
    assert first.returncode == 143, first.stderr
    assert f"are kept. Go on with: safecompress {' '.join(words)}" in first.stderr
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("cohorts/**/*") if p.is_file()}
    assert kept
    second = command(*words)
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "out" / "table.json").is_file()


def test_what_cannot_be_loaded_ends_with_its_own_code(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "safecompress.cli", None)
    monkeypatch.setattr(sys, "argv", ["safecompress", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    assert "cannot be loaded" in capsys.readouterr().err


def test_no_console_costs_results_or_changes_the_exit_code(tmp_path: Path) -> None:
    saved(tmp_path, arrays(60))
    consoles = ["full", "closed", "pipe", "ascii"]
    ended = [
        command(
            *("audit", "outputs.npz", "--out", console),
            cwd=tmp_path,
            program=partial(programs.on_console, console),
        )
        for console in consoles
    ]
    verdicts = [json.loads((tmp_path / name / "verdict.json").read_text()) for name in consoles]
    codes = [{"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}[verdict["verdict"]] for verdict in verdicts]
    said = "".join(done.stderr for done in ended)
    assert len(set(codes)) == 1
    assert [done.returncode for done in ended] == codes, said
    assert "standard output cannot be written (No space left on device)" in ended[0].stderr
    assert "Traceback" not in said
    assert verdicts[0]["verdict"] in (tmp_path / "ascii.txt").read_bytes().decode("ascii")


def test_the_end_of_a_terminal_ends_workers_and_says_how_to_go_on(tmp_path: Path) -> None:
    train = {"epochs": 1, "precision": "32-true"}
    config = {
        "data": {"source": {"source": "sklearn", "name": "iris"}},
        "model": {"name": "mlp", "options": {"hidden": [8]}},
        "dense": train,
        "sparse": {"density": 0.5, "rounds": 1, "train": train},
        "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
        "engine": {"threads": 2, "accelerator": "cpu"},
        "shadows": {"count": 4, "workers": 2},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    folder = tmp_path / "run"
    process = Command("compress", tmp_path / "c.yaml", "--out", folder)
    while process.poll() is None and len(workers_of(folder)) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    process.ended(timeout=60)
    assert process.returncode == 129, process.stderr
    assert f"--resume {folder}" in process.stderr
    assert workers_of(folder) == []


def workers_of(folder: Path) -> list[str]:
    """Return the processes that train models in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = process.read_bytes().decode().split("\0")
            if "safecompress.cohorts.worker" in words and any(str(folder) in w for w in words):
                found.append(process.parent.name)
    return found
