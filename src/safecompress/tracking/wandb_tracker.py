"""`WandbTracker`: a job as a run of Weights & Biases, offline unless asked for otherwise.

What wandb records of the machine by itself (names, packages, console, source code, git) is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wandb

from safecompress.config import WandbOptions
from safecompress.tracking.results import Results
from safecompress.tracking.secrets import redacted
from safecompress.tracking.tracker import Ending, Job, Point, Tracker, flat

STEP = "step"
"""Figure over which all curves are drawn: the training step of their stage."""


class WandbTracker(Tracker):
    """Writes a job as a run of Weights & Biases.

    Args:
        options: where to.
    """

    def __init__(self, options: WandbOptions) -> None:
        self._options = options
        self._run: Any = None

    def begin(self, job: Job, *, earlier: str | None) -> str | None:
        options = self._options
        settings = wandb.Settings(
            mode=options.mode,
            console="off",
            silent=True,
            save_code=False,
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        self._run = wandb.init(
            project=options.project,
            entity=options.entity,
            dir=None if options.folder is None else str(options.folder),
            name=job.name,
            id=earlier,
            resume="allow" if options.mode == "online" else None,
            job_type=job.kind,
            config={k: redacted(v) for k, v in (flat(job.settings) | dict(job.code)).items()},
            reinit="create_new",
            settings=settings,
        )
        self._run.define_metric("*", step_metric=STEP)
        return str(self._run.id)

    def log(self, points: Sequence[Point]) -> None:
        for figures, step in points:
            self._run.log({**figures, STEP: step})

    def results(self, results: Results) -> None:
        tags = {name: redacted(text) for name, text in results.tags.items()}
        self._run.summary.update({**results.figures, **tags})
        if results.files:
            artifact = wandb.Artifact(f"results-{self._run.id}", type="verdict")
            for path in results.files:
                artifact.add_file(str(path))
            self._run.log_artifact(artifact)

    def end(self, ending: Ending) -> None:
        self._run.finish(exit_code=0 if ending == "finished" else 1)
