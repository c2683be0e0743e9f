"""Small runs with a student, shared by tests of what teachers say and of what is made of it."""

from __future__ import annotations

from safecompress import compress
from safecompress.events import silent
from tests.small_runs import SETTINGS, TRAIN, Stopped, make_model, splits

SOFT = {"soft-labels": {"share": 0.7, "mask": "rigl"}}
STEER = SETTINGS["steer"] | {"proposals": [SOFT, "set"]}
STUDENT = {"initialize": "student-global", "student": {"train": TRAIN | {"epochs": 3}}}


def student_run(folder, data=None, on_event=silent, **changes):
    config = SETTINGS | {"sparse": SETTINGS["sparse"] | STUDENT} | changes
    return compress(make_model, data or splits(), config=config, out=folder, on_event=on_event)


def stopping_when(matches):
    def listen(event):
        if matches(event):
            raise Stopped

    return listen
