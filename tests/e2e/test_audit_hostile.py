"""`safecompress audit` on broken and hostile files: one message, and no code of theirs runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from safecompress.data import read_outputs
from safecompress.errors import UsageError
from tests.commands import command
from tests.hostile_outputs import HOSTILE
from tests.programs import measured


def test_there_are_enough_hostile_files() -> None:
    assert len(HOSTILE) >= 80


@pytest.mark.parametrize("case", list(HOSTILE))
def test_a_file_that_cannot_be_audited_ends_in_one_message(case: str, tmp_path: Path) -> None:
    path = HOSTILE[case](tmp_path)
    with pytest.raises(UsageError) as caught:
        read_outputs(path)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    assert not (tmp_path / "executed").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
@pytest.mark.parametrize("case", ["2 GiB of zeros", "declares petabytes", "pickled member_logits"])
def test_nothing_is_executed_and_memory_stays_small(case: str, tmp_path: Path) -> None:
    path = HOSTILE[case](tmp_path)
    done = command("audit", path, "--out", tmp_path / "out", program=measured)
    status, peak = done.stdout.split()
    assert status == "2", done.stderr
    assert int(peak) * 1024 < 1 << 30
    assert done.stderr.count("\n") == 1, "one message"
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "executed").exists()
