"""Crossovers: what a student learns from rows that two members made."""

from __future__ import annotations

import pytest
import torch

from safecompress import compress
from safecompress.compression.pipeline import take_up
from safecompress.compression.prepare import prepare
from safecompress.compression.teachers import train_teachers
from safecompress.compression.transfer_rows import TransferRows
from safecompress.config import dump_yaml, load_config
from safecompress.errors import ConfigError
from safecompress.events import silent
from safecompress.run.folder import RunFolder
from tests.small_runs import SETTINGS, Stopped, brisk, make_model, splits
from tests.students import STEER, stopping_when, student_run


@pytest.fixture(autouse=True)
def _brisk():
    with brisk():
        yield


CROSSED = {"teachers": {"transfer_set": {"crossovers": 2, "share": 0.5}}}


def test_no_crossovers_label_depends_on_its_parents_labels(tmp_path):
    """One member's wrong label changes what is said of others, and of none of its crossovers."""
    config = SETTINGS | {"steer": STEER} | CROSSED
    other = splits.__wrapped__()
    other.members.labels[5] = (other.members.labels[5] + 1) % 3
    sets = []
    for name, data in (("a", splits()), ("b", other)):
        prepared = prepare(load_config(config), make_model, data)
        folder = RunFolder.create(tmp_path / name, config_yaml=dump_yaml(prepared.config))
        sets.append(train_teachers(take_up(prepared, folder, silent)).transfer.soft_labels)
    made = TransferRows.of(load_config(config), splits())
    parent = (made.first == 5) | (made.second == 5)
    assert int(parent.sum()) >= 2
    assert torch.equal(sets[0][parent], sets[1][parent])
    changed = (sets[0] != sets[1]).any(1)
    assert float(changed.double().mean()) > 0.5


def test_a_student_learns_from_crossovers_and_resumes_in_the_same_bits(tmp_path):
    plain = student_run(tmp_path / "plain")
    whole = student_run(tmp_path / "whole", **CROSSED)
    learning = stopping_when(lambda event: event.data.get("piece") == "student")
    with pytest.raises(Stopped):
        student_run(tmp_path / "cut", on_event=learning, **CROSSED)
    resumed = compress(make_model, splits(), resume=tmp_path / "cut")
    weights = [run.model.state_dict() for run in (plain, whole, resumed)]
    assert all(torch.equal(weights[1][name], weights[2][name]) for name in weights[1])
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_rows_of_two_members_are_refused_beside_accounted_gradients(tmp_path):
    pytest.importorskip("opacus")
    defended = {"steer": STEER | {"defenses": [{"dp-sgd": {"noise": 1.0}}]}}
    with pytest.raises(ConfigError, match="cannot account for rows made of two members"):
        student_run(tmp_path / "run", **CROSSED, **defended)
    assert not (tmp_path / "run").exists()
