"""`Relay`: hands a job's figures to a tracker in a thread, so that nothing waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from safecompress.errors import FOREIGN, DataError
from safecompress.files import read_json, write_json
from safecompress.tracking.results import Results
from safecompress.tracking.secrets import redacted
from safecompress.tracking.tracker import Ending, Job, Point, Tracker

RUNS = "trackers.json"
"""File of a run folder with the names of its runs in trackers, by which a resumed run goes on."""
_MOST_AT_ONCE = 200
_lock = threading.Lock()


class Relay:
    """Writes one job into one tracker, until the tracker fails.

    Args:
        name: the tracker's name.
        make: makes the tracker; called in the thread, because it may import a large package.
        job: the job.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], job: Job) -> None:
        self.name = name
        self.problem = ""
        self._make, self._job = make, job
        self._inbox: SimpleQueue[Point | Results | Ending] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"track-{name}", daemon=True)
        self._thread.start()

    def put(self, item: Point | Results | Ending) -> None:
        """Hand something over and return at once.

        Args:
            item: figures with their step, the results, or how the job ended, which is last.
        """
        if not self.problem:
            self._inbox.put(item)

    def wait(self, seconds: float) -> None:
        """Wait until everything is written, but no longer than some time.

        Args:
            seconds: the time.
        """
        self._thread.join(seconds)
        if self._thread.is_alive() and not self.problem:
            self.problem = f"it has not taken everything within {seconds:.0f} s"

    def _serve(self) -> None:
        try:
            tracker = self._make()
            self._begin(tracker)
            while self._hand_on(tracker):
                pass
        except FOREIGN as error:
            said = " ".join(str(error).split())[:300]
            self.problem = redacted(f"{type(error).__name__}: {said}")

    def _begin(self, tracker: Tracker) -> None:
        folder = self._job.folder if self._job.kind == "compress" else None
        run = tracker.begin(self._job, earlier=_earlier(folder).get(self.name))
        if folder is not None and run is not None:
            with _lock:
                write_json(folder / RUNS, _earlier(folder) | {self.name: run})

    def _hand_on(self, tracker: Tracker) -> bool:
        """Hand on what waits; return whether more will come."""
        item = self._inbox.get()
        points: list[Point] = []
        while isinstance(item, tuple):
            points.append(item)
            if len(points) == _MOST_AT_ONCE:
                break
            try:
                item = self._inbox.get_nowait()
            except Empty:
                break
        if points:
            tracker.log(points)
        if isinstance(item, Results):
            tracker.results(item)
        elif isinstance(item, str):
            tracker.end(item)
            return False
        return True


def _earlier(folder: Path | None) -> dict[str, str]:
    try:
        runs = {} if folder is None else read_json(folder / RUNS)
    except (DataError, OSError):
        return {}
    return {str(k): str(v) for k, v in runs.items()} if isinstance(runs, dict) else {}


def wait_for(relays: list[Relay], seconds: float) -> None:
    """Wait for several relays at once.

    Args:
        relays: the relays.
        seconds: the longest time, for all of them together.
    """
    end = time.monotonic() + seconds
    for relay in relays:
        relay.wait(max(end - time.monotonic(), 0.01))
