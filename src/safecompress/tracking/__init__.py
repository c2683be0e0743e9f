"""Experiment trackers: TensorBoard, MLflow, Weights & Biases, and a plain table.

A job is followed through its events, so a tracker takes no part in training and changes no bit of
it. Each tracker writes in a thread of its own; one that fails is named in a note, and the job goes
on without it.
"""

from safecompress.tracking.following import Tracking, checked_trackers, tracking
from safecompress.tracking.results import Results, table_results, verdict_results
from safecompress.tracking.tracker import Job, code_of

__all__ = [
    "Job",
    "Results",
    "Tracking",
    "checked_trackers",
    "code_of",
    "table_results",
    "tracking",
    "verdict_results",
]
