"""`tracking`: follows a job through its events and writes it into trackers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from safecompress.config import (
    FolderOptions,
    GivenTrackers,
    TrackerOptions,
    TrackerRequest,
    TrackersConfig,
    load_section,
    named,
)
from safecompress.errors import FOREIGN, ConfigError, InterruptedRunError
from safecompress.events import Event, Listener
from safecompress.tracking.curves import Curves
from safecompress.tracking.relay import Relay, wait_for
from safecompress.tracking.results import Results
from safecompress.tracking.secrets import redacted
from safecompress.tracking.tracker import Ending, Job, Point, Tracker

PATIENCE = {"finished": 60.0, "failed": 10.0, "interrupted": 5.0}
"""Most seconds that a job waits at its end for its trackers."""
_PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
"""By tracker, the module that an extra of the same name installs."""

_AT_HOME = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
"""Set before these packages are imported, unless a user has: they would tell their makers of it."""


class Tracking:
    """A listener that passes events on, and hands what they say to trackers.

    Args:
        relays: one for each tracker.
        listen: receives every event, and notes on trackers that failed.
    """

    def __init__(self, relays: Sequence[Relay], listen: Listener) -> None:
        self._relays, self._listen = list(relays), listen
        self._curves = Curves()

    def __call__(self, event: Event) -> None:
        """Pass an event on, and its figures to the trackers.

        Args:
            event: the event.
        """
        self._listen(event)
        if self._relays:
            self._hand_over(lambda: [p for p in self._curves.points(event) if p[0]])
            self._note_problems()

    def results(self, make: Callable[[], Results]) -> None:
        """Hand over the results.

        Args:
            make: makes them; called only where there is a tracker.
        """
        if self._relays:
            self._hand_over(lambda: [make()])

    def end(self, ending: Ending) -> None:
        """Let the trackers end, and wait for them for a limited time.

        Args:
            ending: how the job ended.
        """
        self._note_problems()
        self._put(ending)
        wait_for(self._relays, PATIENCE[ending])
        self._note_problems()

    def _hand_over(self, make: Callable[[], Sequence[Point | Results]]) -> None:
        try:
            items = make()
        except FOREIGN as error:
            # Whatever an event of another package's part holds, it costs no result.
            for relay in self._relays:
                relay.put("failed")
                relay.problem = redacted(f"{type(error).__name__}: {error}")
        else:
            self._put(*items)

    def _put(self, *items: Point | Results | Ending) -> None:
        for relay in self._relays:
            for item in items:
                relay.put(item)

    def _note_problems(self) -> None:
        for relay in [relay for relay in self._relays if relay.problem]:
            self._relays.remove(relay)
            text = f"tracker {relay.name} failed, and nothing waits for it: {relay.problem}"
            self._listen(Event("note", text, {"tracker": relay.name}))


@contextmanager
def tracking(requests: Sequence[TrackerRequest], job: Job, listen: Listener) -> Iterator[Tracking]:
    """Track what happens in a block.

    Args:
        requests: the trackers.
        job: the job.
        listen: receives the job's events, and a note on each tracker that failed.
    """
    relays = [
        Relay(options.name, partial(_make, options, job.folder), job)
        for options in map(named, requests)
    ]
    tracked = Tracking(relays, listen)
    try:
        yield tracked
    except (KeyboardInterrupt, InterruptedRunError):
        tracked.end("interrupted")
        raise
    except BaseException:
        tracked.end("failed")
        raise
    tracked.end("finished")


def checked_trackers(given: GivenTrackers, *, folder: Path | None) -> tuple[TrackerRequest, ...]:
    """Return trackers as an argument gives them, checked before any work.

    Args:
        given: the trackers, by name or as `{name: {option: value}}`.
        folder: folder of the results; None where nothing is written.

    Raises:
        ConfigError: on an unknown tracker or option, when a tracker's package is not installed, or
            it has no folder to write to.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ConfigError(
            f'trackers: got {given!r:.80}; expected a list of names, for example ["mlflow"].'
        )
    settings = {"trackers": list(given)}
    requests = load_section(TrackersConfig, settings, where="trackers").trackers
    for options in map(named, requests):
        package = _PACKAGES.get(options.name)
        if package is not None and find_spec(package) is None:
            raise ConfigError(
                f"trackers: {options.name} is not installed; pip install "
                f"'safecompress[{options.name}]', or leave it out."
            )
        files = options.options
        if isinstance(files, FolderOptions) and files.folder is None and folder is None:
            raise ConfigError(
                f"trackers: {options.name} writes into the folder of the results, and there is "
                f"none; give `out`, or {{{options.name}: {{folder: PATH}}}}."
            )
    return requests


def _make(options: TrackerOptions, folder: Path | None) -> Tracker:
    """Return a tracker, whose package is imported by now."""
    for variable, value in _AT_HOME.items():
        os.environ.setdefault(variable, value)
    if options.mlflow is not None:
        from safecompress.tracking.mlflow_tracker import MlflowTracker

        return MlflowTracker(options.mlflow)
    if options.wandb is not None:
        from safecompress.tracking.wandb_tracker import WandbTracker

        return WandbTracker(options.wandb)
    from safecompress.tracking.fabric_tracker import FabricTracker

    files = options.csv or options.tensorboard or FolderOptions()
    place = files.folder or (folder or Path()) / "logs" / options.name
    return FabricTracker(options.name, place)
