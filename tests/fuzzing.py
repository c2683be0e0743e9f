"""`Corpus`: the reader of a format on files that are changed at random.

    python -m tests.fuzzing FORMAT FIRST LAST

tries the seeds from FIRST to before LAST in a process of its own, says when each is begun, so that
a crash has a seed, and ends with a line of JSON, as `summary` makes it.
"""

from __future__ import annotations

import faulthandler
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from safecompress.errors import SafeCompressError
from tests import file_mutations
from tests.file_mutations import mutated
from tests.fuzz_formats import FORMATS
from tests.mutations import NAMED

SECONDS, BYTES = 1.0, 1 << 30
"""What reading a file may take at most, of computing time and of memory."""
_HANG = 30
ROOT = Path(__file__).parents[1]


class Corpus:
    """A sound folder of a format, of which one file at a time is changed.

    Args:
        name: a key of `FORMATS`.
        folder: an empty folder.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.format, self.folder, self.mark = FORMATS[name], folder / "corpus", folder / "ran"
        self.folder.mkdir()
        self.format.make(self.folder)
        (folder / "planted_code.py").write_text(
            f"from pathlib import Path\nPath({str(self.mark)!r}).touch()\n"
            "def make(*given, **options):\n    raise SystemExit\n"
        )
        assert NAMED.startswith("planted_code")
        self.sound = {file: (self.folder / file).read_bytes() for file in self.format.files}
        self.format.read(self.folder)  # a sound one is read; it also pays for imports

    def tried(self, seed: int) -> dict[str, Any]:
        """Return how the reader ended on a file: `end`, `seconds`, `bytes`, `fault`.

        Args:
            seed: of the change.
        """
        draw = random.Random(seed)
        random.seed(seed)
        file = draw.choice(list(self.sound))
        file_mutations.BOMB_MARK[:] = [self.mark]
        (self.folder / file).write_bytes(mutated(self.sound[file], draw, self.format.files[file]))
        end, fault = "read", ""
        _forget_peak()
        before, started = _resident("VmRSS"), time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.format.read(self.folder)
        except SafeCompressError:
            end = "refused"
        except BaseException as error:
            end, fault = "fault", f"{type(error).__name__}: {str(error)[:200]}"
            if isinstance(error, KeyboardInterrupt):
                raise
        seconds, more = time.process_time() - started, _resident("VmHWM") - before
        (self.folder / file).write_bytes(self.sound[file])
        if self.mark.exists():
            self.mark.unlink()
            fault += " code was run"
        if seconds > SECONDS:
            fault += f" took {seconds:.2f} s"
        if more > BYTES:
            fault += f" took {more / 1e9:.2f} GB"
        return {"seed": seed, "file": file, "end": end, "seconds": seconds, "bytes": more} | (
            {"fault": fault} if fault else {}
        )


def _forget_peak() -> None:
    """Let Linux count the peak of memory from now on; elsewhere it is not counted."""
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5")


def _resident(what: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith(what))
    return 1024 * int(line.split()[1])


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many files were tried, and the slowest and largest readings of all.

    Args:
        found: what `Corpus.tried` returned, one for each seed.
    """
    return {
        "tried": len(found),
        "read": sum(f["end"] == "read" for f in found),
        "refused": sum(f["end"] == "refused" for f in found),
        "faults": [f for f in found if "fault" in f][:20],
        "slowest_seconds": max(f["seconds"] for f in found),
        "largest_bytes": max(f["bytes"] for f in found),
    }


def driven(name: str, count: int, *, at_once: int = 5000) -> dict[str, Any]:
    """Return the summary of many files, tried in processes of their own.

    A reader that ends its process, or that nothing stops, is a fault of the file that it had.

    Args:
        name: a key of `FORMATS`.
        count: number of files.
        at_once: files of a process.
    """
    total: dict[str, Any] = {}
    first = 0
    while first < count:
        last = min(count, first + at_once)
        command = [sys.executable, "-m", "tests.fuzzing", name, str(first), str(last)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        watch = threading.Timer(_HANG + 60, process.kill)
        begun, found = first, None
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            begun, found = said.get("begun", begun), said if "tried" in said else None
            watch.cancel()
            watch = threading.Timer(_HANG + 60, process.kill)
            watch.start()
        watch.cancel()
        if process.wait() or found is None:
            fault = {"seed": begun, "fault": f"ended its process with {process.returncode}"}
            found = {"tried": begun + 1 - first, "faults": [fault]}
        total = _added(total, found)
        first += found["tried"]
    return total


def _added(total: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    sums = {n: total.get(n, 0) + found.get(n, 0) for n in ("tried", "read", "refused")}
    worst = ("slowest_seconds", "largest_bytes")
    return {
        **sums,
        "faults": total.get("faults", []) + found["faults"],
        **{n: max(total.get(n, 0), found.get(n, 0)) for n in worst},
    }


def main() -> None:
    """Try some seeds of a format in this process."""
    name, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    faulthandler.enable()

    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer within {_HANG} s")

    signal.signal(signal.SIGALRM, stop)
    with tempfile.TemporaryDirectory() as temporary:
        sys.path.insert(0, temporary)
        corpus, found = Corpus(name, Path(temporary)), []
        for seed in range(first, last):
            print(json.dumps({"begun": seed}), flush=True)
            signal.alarm(_HANG)
            found.append(corpus.tried(seed))
            signal.alarm(0)
        print(json.dumps(summary(found)), flush=True)


if __name__ == "__main__":
    main()
