"""`MlflowTracker`: a job as a run of MLflow.

It uses MLflow's own client, which has no global state: Lightning's logger of MLflow would bring the
whole of PyTorch Lightning along, and knows no artifacts but checkpoints.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from safecompress.config import MlflowOptions
from safecompress.tracking.results import Results
from safecompress.tracking.secrets import redacted
from safecompress.tracking.tracker import Ending, Job, Point, Tracker, flat

LOCAL = "sqlite:///mlflow.db"
"""The store that MLflow's own tools open where nothing else is named."""
_STATES: dict[Ending, str] = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_MOST_METRICS, _MOST_PARAMS, _LONGEST = 1000, 100, 500
"""Limits of MLflow's servers on one call, and on the length of a setting."""


class MlflowTracker(Tracker):
    """Writes a job as a run of MLflow.

    Args:
        options: where to.
    """

    def __init__(self, options: MlflowOptions) -> None:
        uri = options.uri or os.environ.get("MLFLOW_TRACKING_URI") or LOCAL
        self._experiment = options.experiment
        self._run = ""
        with _quiet():
            self._client = MlflowClient(tracking_uri=uri)

    def begin(self, job: Job, *, earlier: str | None) -> str | None:
        with _quiet():
            self._run = self._gone_on(earlier) or self._new(job)
        return self._run

    def log(self, points: Sequence[Point]) -> None:
        self._metrics([(name, v, step) for figures, step in points for name, v in figures.items()])

    def results(self, results: Results) -> None:
        self._metrics([(name, value, 0) for name, value in results.figures.items()])
        tags = [RunTag(name, redacted(text)) for name, text in results.tags.items()]
        # MLflow shows this tag above a run.
        note = RunTag("mlflow.note.content", redacted(results.text))
        self._client.log_batch(self._run, tags=[*tags, note])
        for path in results.files:
            self._client.log_artifact(self._run, str(path))

    def end(self, ending: Ending) -> None:
        self._client.set_terminated(self._run, status=_STATES[ending])

    def _gone_on(self, earlier: str | None) -> str:
        """Return the run before an interruption; empty where the store does not have it."""
        with suppress(MlflowException):
            if earlier is not None:
                self._client.update_run(earlier, status="RUNNING")
                return earlier
        return ""

    def _new(self, job: Job) -> str:
        known = self._client.get_experiment_by_name(self._experiment)
        if known is None:
            experiment = self._client.create_experiment(self._experiment)
        else:
            experiment = known.experiment_id
        run = self._client.create_run(experiment, run_name=job.name).info.run_id
        settings = flat(job.settings)
        params = [Param(name, redacted(text)[:_LONGEST]) for name, text in settings.items()]
        tags = [RunTag(f"safecompress.{name}", text) for name, text in job.code.items()]
        self._client.log_batch(run, tags=[*tags, RunTag("safecompress.kind", job.kind)])
        for begin in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(run, params=params[begin : begin + _MOST_PARAMS])
        return str(run)

    def _metrics(self, figures: Sequence[tuple[str, float, int]]) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in figures]
        for begin in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._run, metrics=metrics[begin : begin + _MOST_METRICS])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what MLflow says of a new database off the console."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
