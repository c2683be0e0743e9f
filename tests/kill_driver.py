"""Jobs that are killed anywhere, and run again: `python -m tests.kill_driver FOLDER FIRST LAST`.

Each seed draws a verb and a place: a random change of the file system that it makes, just before
which the process gets SIGKILL, or a random moment of its time. Killed once or twice, it is then run
to its end, and must leave what an undisturbed run of the verb left. A line of JSON tells each seed;
processes are forked, so that imports are paid for once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from safecompress import audit, compare_runs, export, release
from safecompress.report import write_report
from safecompress.run.folder import HISTORY, VERDICT
from tests.recorded_outputs import arrays, saved
from tests.small_runs import begin, brisk, go_on, make_model, result, splits

CHANGES = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link"})
"""Audit events that change a file system, beside `open` for writing."""
RUN = "finished"


def _compress(work: Path) -> None:
    folder = work / "run"
    if (folder / VERDICT).exists() and (folder / "report.html").exists():
        return
    (go_on if (folder / "config.yaml").exists() else begin)(folder)


def _audit(work: Path) -> None:
    audit(work / "outputs.npz", out=work / "audited", attacks=["loss"])


def _export(work: Path) -> None:
    export(
        work / RUN,
        work / "m.safetensors",
        format="safetensors",
        model=make_model,
        data=splits(),
    )


def _report(work: Path) -> None:
    write_report(work / RUN)


def _compare(work: Path) -> None:
    compare_runs([work / RUN, work / "other"], out=work / "table")


def _release(work: Path) -> None:
    release(
        work / RUN,
        work / "released",
        formats=["safetensors", "safetensors-int8"],
        model=make_model,
        data=splits(),
        allow_failed=True,
    )


VERBS: dict[str, Callable[[Path], object]] = {
    "compress": _compress,
    "audit": _audit,
    "export": _export,
    "report": _report,
    "compare": _compare,
    "release": _release,
}


def left(verb: str, work: Path) -> dict[str, Any]:
    """Return what a verb left, times left out; any file that is no result shows by its name."""
    if verb == "compress":
        return {k: v if k != "models" else sorted(v) for k, v in result(work / "run").items()} | {
            "bits": {k: _hash(v) for k, v in result(work / "run")["models"].items()}
        }
    found: dict[str, Any] = {}
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        if path.is_dir() or name.endswith((".lock", "ledger.jsonl")):
            continue
        if path.suffix == ".json":
            found[name] = _plain(json.loads(path.read_text()))
        else:
            # Pages, cards and sums say seconds and dates; they are there, and models are the same.
            found[name] = _hash(path.read_bytes()) if path.suffix == ".safetensors" else ""
    return found


def _plain(value: Any) -> Any:
    """Drop what no two runs share: times, the place of the folder, and what looks make of figures.

    A killed process that has looked at the sealed rows has looked, and later intervals are wider.
    """
    if isinstance(value, dict):
        apart = {"created", "file", "seconds", "looks", "level", "low", "high"}
        return {k: _plain(v) for k, v in value.items() if k not in apart}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def child(job: Callable[[], object], *, at_change: int = 0, after: float = 0.0) -> tuple[int, int]:
    """Run a job in a process of its own.

    Args:
        job: what it does.
        at_change: the change of the file system before which it is killed; 0 for none.
        after: seconds after which it is killed; 0 for never.

    Returns:
        How the process ended, as `os.waitpid` says, and how many changes it made.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            changes = 0

            def watch(event: str, arguments: tuple[Any, ...]) -> None:
                nonlocal changes
                writes = event == "open" and isinstance(arguments[2], int)
                writes = writes and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
                if (writes or event in CHANGES) and os.getpid() == own:
                    changes += 1
                    if changes == at_change:
                        os.kill(own, signal.SIGKILL)

            own = os.getpid()
            sys.addaudithook(watch)
            with brisk():
                job()
            os.write(writing, str(changes).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    if after:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    said = os.read(reading, 20)
    os.close(reading)
    return status, int(said or b"0")


def main() -> None:
    """Kill the seeds from FIRST to before LAST."""
    root, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sound = root / "sound"
    (sound / "other").parent.mkdir(parents=True)
    saved(sound, arrays(200))
    with brisk():
        begin(sound / RUN)
    shutil.copytree(sound / RUN, sound / "other")
    whole: dict[str, tuple[dict[str, Any], int, float]] = {}
    for seed in range(first, last):
        draw = random.Random(seed)
        verb, work = draw.choice(list(VERBS)), root / str(seed)
        if verb not in whole:
            shutil.copytree(sound, root / verb)
            started = time.monotonic()
            status, changes = child(partial(VERBS[verb], root / verb))
            whole[verb] = (left(verb, root / verb), changes, time.monotonic() - started)
            assert status == 0, (verb, status)
            assert (root / verb / RUN / HISTORY).exists()
        expected, changes, seconds = whole[verb]
        shutil.copytree(sound, work)
        job, kills = partial(VERBS[verb], work), []
        for _ in range(draw.choice([1, 1, 2])):
            place = {"at_change": draw.randint(1, changes)}
            if draw.random() < 0.4:
                place = {"after": draw.uniform(0.001, seconds)}  # type: ignore[dict-item]
            kills.append(os.WIFSIGNALED(child(job, **place)[0]))
        status, _ = child(job)
        same = status == 0 and left(verb, work) == expected
        told = {"seed": seed, "verb": verb, "killed": sum(kills), "same": same}
        print(json.dumps(told), flush=True)
        if same:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
