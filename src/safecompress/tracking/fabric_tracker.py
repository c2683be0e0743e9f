"""`FabricTracker`: a table or TensorBoard's files, through the loggers of Lightning Fabric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from safecompress.tracking.results import Results
from safecompress.tracking.secrets import redacted
from safecompress.tracking.tracker import Ending, Job, Point, Tracker, flat


class FabricTracker(Tracker):
    """Writes files into a folder; every start of a job writes into a `version_N` of its own.

    Args:
        kind: `csv` or `tensorboard`.
        folder: the folder.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._board = TensorBoardLogger(folder, name="") if kind == "tensorboard" else None
        self._logger = self._board or CSVLogger(folder, name="")

    def begin(self, job: Job, *, earlier: str | None) -> str | None:
        del earlier
        if self._board is not None:
            settings = {name: redacted(text) for name, text in flat(job.settings).items()}
            self._board.log_hyperparams(settings | dict(job.code))
        return None

    def log(self, points: Sequence[Point]) -> None:
        for figures, step in points:
            self._logger.log_metrics(dict(figures), step)
        self._logger.save()

    def results(self, results: Results) -> None:
        self._logger.log_metrics(dict(results.figures), 0)
        if self._board is not None:
            for name, text in results.tags.items():
                self._board.experiment.add_text(name, text)
            self._board.experiment.add_text("safecompress.report", results.text)

    def end(self, ending: Ending) -> None:
        self._logger.save()
        self._logger.finalize(ending)
