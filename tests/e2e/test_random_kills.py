"""Whatever a verb is killed at, run again it leaves what an undisturbed run leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support import count

ROOT = Path(__file__).parents[2]
# Every seed runs a verb two or three times, and imports come before the first.
pytestmark = pytest.mark.calibrate


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_verbs_killed_at_random_leave_the_same_bits_when_run_again(tmp_path: Path) -> None:
    number = count(6, 1000)
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_driver", str(tmp_path), "0", str(number)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(told) == number
    assert [one for one in told if not one["same"]] == []
    # A job may end before its moment comes, but most do not.
    assert sum(one["killed"] for one in told) >= number / 2
    assert number < 100 or len(Counter(one["verb"] for one in told)) == 6
