"""Soft labels: who is taught by whom, and what a candidate then learns."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from safecompress import compress, splits_from_arrays
from safecompress.compression.pipeline import take_up
from safecompress.compression.prepare import prepare
from safecompress.compression.teacher_folds import held_out
from safecompress.compression.teachers import train_teachers
from safecompress.config import TeachersConfig, dump_yaml, load_config
from safecompress.errors import ConfigError, DataError, ModelError, RunFolderError
from safecompress.events import silent
from safecompress.files import read_tensors, write_tensors
from safecompress.models import fresh_weights
from safecompress.proposals import PROPOSALS
from safecompress.protocols import Rows
from safecompress.run.folder import RunFolder, read_history
from safecompress.run.model_file import read_model
from tests.small_runs import (
    SETTINGS,
    TRAIN,
    Stopped,
    begin,
    brisk,
    make_model,
    result,
    splits,
    stopping_at,
    taught,
)
from tests.students import SOFT, STEER, STUDENT, stopping_when, student_run


@pytest.fixture(autouse=True)
def _brisk():
    with brisk():
        yield


def rows(n, distinct=None):
    x = torch.arange(n, dtype=torch.float32).remainder(distinct or n).unsqueeze(1)
    return Rows(x, torch.zeros(n, dtype=torch.int64), torch.arange(n))


@pytest.mark.parametrize(("folds", "left_out"), [(2, 1), (4, 2), (5, 1), (7, 6)])
def test_every_row_is_left_out_equally_often_and_folds_are_even(folds, left_out):
    unseen = held_out(rows(100), TeachersConfig(folds=folds, held_out=left_out), seed=3)
    assert unseen.shape == (folds, 100)
    assert bool((unseen.sum(0) == left_out).all())
    sizes = unseen.sum(1)
    assert int(sizes.max() - sizes.min()) <= left_out


def test_equal_rows_are_never_divided():
    unseen = held_out(rows(100, distinct=13), TeachersConfig(folds=5, held_out=2), seed=0)
    for k in range(13):
        alike = unseen[:, k::13]
        assert bool((alike == alike[:, :1]).all())


def test_too_few_distinct_rows_are_refused():
    with pytest.raises(DataError, match=r"folds is 4.*only 3 distinct"):
        held_out(rows(50, distinct=3), TeachersConfig(), seed=0)


@pytest.mark.parametrize("options", [{"share": 1.5}, {"share": -0.1}, {"temperature": 0}])
def test_soft_labels_refuse_numbers_out_of_range(options):
    with pytest.raises(ConfigError, match=r"expected a (finite )?number"):
        PROPOSALS.build({"soft-labels": options}, where="here")


def test_soft_labels_of_soft_labels_are_refused():
    with pytest.raises(ConfigError, match="which changes the soft target"):
        PROPOSALS.build({"soft-labels": {"mask": "soft-labels"}}, where="here")


def test_only_a_share_of_soft_labels_needs_teachers():
    assert "soft_labels" in PROPOSALS.build(SOFT, where="here").requires
    hard = {"soft-labels": {"share": 0, "mask": "rigl"}}
    assert "soft_labels" not in PROPOSALS.build(hard, where="here").requires


def run(folder, data=None, **options):
    return compress(
        make_model, data or splits(), config=SETTINGS | {"steer": STEER}, out=folder, **options
    )


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    """A finished run with soft labels, and its folder, which nobody changes."""
    folder = tmp_path_factory.mktemp("soft") / "run"
    with brisk():
        return run(folder), folder


@pytest.fixture(scope="module")
def taught_student(tmp_path_factory):
    """A finished run that began with a student."""
    with brisk():
        return student_run(tmp_path_factory.mktemp("student") / "run")


def labels_of(folder):
    found = {}
    for path in sorted((folder / "teachers").iterdir()):
        said = read_tensors(path)
        for row, probabilities in zip(said["ids"].tolist(), said["probabilities"], strict=True):
            found.setdefault(row, []).append(probabilities)
    return {row: torch.stack(said) for row, said in found.items()}


def test_no_soft_label_depends_on_its_own_rows_label(soft, tmp_path):
    before = labels_of(soft[1])
    other = splits.__wrapped__()
    member = int(other.members.ids[5])
    other.members.labels[5] = (other.members.labels[5] + 1) % 3
    run(tmp_path / "b", other)
    after = labels_of(tmp_path / "b")
    assert torch.equal(before[member], after[member])
    assert sum(not torch.equal(before[row], after[row]) for row in before) > len(before) / 2


def test_a_run_killed_among_its_teachers_ends_in_the_same_model(soft, tmp_path):
    whole, folder = soft
    with pytest.raises(Exception, match="note 2"):
        run(tmp_path / "cut", on_event=stopping_at("note", 2))
    assert len(list((tmp_path / "cut" / "teachers").iterdir())) == 2
    resumed = compress(make_model, splits(), resume=tmp_path / "cut")
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
    assert any("soft=0.7" in line["proposal"] for line in read_history(folder))


def test_a_teachers_file_of_another_run_is_refused(tmp_path):
    with pytest.raises(Exception, match="note 1"):
        run(tmp_path / "run", on_event=stopping_at("note", 1))
    path = tmp_path / "run" / "teachers" / "1.safetensors"
    stored = read_tensors(path)
    write_tensors(path, stored | {"ids": stored["ids"].flip(0)})
    with pytest.raises(RunFolderError, match=r"not this run's.*delete it"):
        compress(make_model, splits(), resume=tmp_path / "run")


def test_the_same_candidate_is_not_trained_twice(tmp_path):
    steer = SETTINGS["steer"] | {"proposals": [SOFT, "rigl", "set"], "search": "every-round"}
    compress(make_model, splits(), config=SETTINGS | {"steer": steer}, out=tmp_path / "run")
    lines = read_history(tmp_path / "run")
    first = [line for line in lines if line["round"] == 1]
    assert [line["status"] for line in first] == ["ok", "ok", "ok"]
    soft_won = next(line for line in first if line["selected"])["proposal"].startswith("rigl soft")
    second = {line["proposal"]: line for line in lines if line["round"] == 2}
    twin = (
        second["rigl"]["status"] == "discarded" and "the same as r2p1c1" in second["rigl"]["reason"]
    )
    assert twin == soft_won


def test_fresh_weights_owe_nothing_to_the_trained_ones():
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    module(torch.randn(20, 4))
    drawn = fresh_weights(module, seed=1)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.add_(7)
    again = fresh_weights(module, seed=1)
    assert drawn.keys() == before.keys()
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)
    assert torch.equal(module.state_dict()["0.weight"], before["0.weight"] + 7)


def test_a_parameter_nobody_can_reset_is_named():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(ModelError, match=r"'1\.scale' cannot be initialized anew: Scaled"):
        fresh_weights(nn.Sequential(nn.Linear(2, 2), Scaled()), seed=0)


def pair(*, weights_given):
    x = torch.randn(400, 6)
    y = x[:, :3].argmax(dim=1)
    return splits_from_arrays(
        x[:200],
        y[:200],
        test=(x[200:], y[200:]),
        split={"membership": "pair"},
        seed=0,
        weights_given=weights_given,
    )


@pytest.mark.parametrize("trained", [True, False])
def test_no_teacher_begins_as_another_or_as_the_model_did(trained):
    data = pair(weights_given=trained)
    config = load_config(SETTINGS | {"steer": STEER})
    prepared = prepare(config, taught(make_model(), data.members) if trained else make_model, data)
    first, again, second = prepared.fresh(0), prepared.fresh(0), prepared.fresh(1)
    name = next(iter(first))
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], second[name])
    assert not torch.equal(first[name], prepared.initial[name])


def test_a_student_and_what_is_cut_from_it_never_meet_a_hard_label(tmp_path):
    """Once the teachers have spoken, wrong labels of all members change no bit."""
    untouched = {"sparse": SETTINGS["sparse"] | STUDENT | {"rounds": 0}}
    first = student_run(tmp_path / "a", **untouched)
    other = splits.__wrapped__()
    other.members.labels[:] = (other.members.labels + 1) % 3
    at_teachers = stopping_when(lambda event: event.data.get("stage") == "teachers")
    with pytest.raises(Stopped):
        student_run(tmp_path / "b", other, on_event=at_teachers, **untouched)
    shutil.copytree(tmp_path / "a" / "teachers", tmp_path / "b" / "teachers")
    second = compress(make_model, other, resume=tmp_path / "b")
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name])


def test_nothing_of_the_dense_model_is_in_what_a_student_becomes(taught_student, tmp_path):
    none = student_run(tmp_path / "b", dense=TRAIN | {"epochs": 1}, teachers={"train": TRAIN})
    for name, weight in taught_student.model.state_dict().items():
        assert torch.equal(weight, none.model.state_dict()[name])


def test_a_student_ends_at_the_density_and_is_cut_by_magnitude(tmp_path):
    sparse = SETTINGS["sparse"] | STUDENT
    frozen = {"sparse": sparse | {"rounds": 0, "train": sparse["train"] | {"epochs": 0}}}
    student_run(tmp_path / "run", **frozen)
    made = read_model(tmp_path / "run" / "model.safetensors")
    masks = made.topology.masks
    assert made.topology.nonzeros == round(sparse["density"] * made.topology.total)
    student_run(tmp_path / "all", sparse=frozen["sparse"] | {"density": 1.0})
    dense = read_model(tmp_path / "all" / "model.safetensors")
    kept = torch.cat([dense.weights[n][m].abs() for n, m in masks.items()])
    left = torch.cat([dense.weights[n][~m].abs() for n, m in masks.items()])
    assert kept.min() >= left.max()


def test_a_run_killed_while_its_student_learns_ends_in_the_same_model(taught_student, tmp_path):
    learning = stopping_when(lambda event: event.data.get("piece") == "student")
    with pytest.raises(Stopped):
        student_run(tmp_path / "cut", on_event=learning)
    resumed = compress(make_model, splits(), resume=tmp_path / "cut")
    for name, weight in taught_student.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])


PROPOSED = {"search": "every-round", "proposals": ["set", {"student": {"mask": "rigl"}}]}
PROPOSING = SETTINGS | {
    "sparse": SETTINGS["sparse"] | {"student": STUDENT["student"]},
    "steer": PROPOSED | {"attacks": ["loss"]},
}


@pytest.fixture(scope="module")
def proposing(tmp_path_factory):
    """A finished run whose candidates may become a student's, and its folder."""
    folder = tmp_path_factory.mktemp("proposing") / "run"
    with brisk():
        return compress(make_model, splits(), config=PROPOSING, out=folder), folder


def test_a_proposed_student_is_the_one_that_a_search_may_begin_with(tmp_path):
    """Once chosen, its candidate is what a search that begins with it comes to."""
    sparse = {"sparse": SETTINGS["sparse"] | {"student": STUDENT["student"]}}
    replayed = {"proposals": [{"student": {"mask": "keep"}}], "replay": ["keep student"] * 2}
    proposed = compress(
        make_model,
        splits(),
        config=SETTINGS | {"sparse": sparse["sparse"] | {"settle_epochs": None}, "steer": replayed},
        out=tmp_path / "a",
    )
    begun = student_run(
        tmp_path / "b",
        sparse=SETTINGS["sparse"] | STUDENT | {"settle_epochs": None},
        steer={"proposals": ["keep"], "replay": ["keep"] * 2},
    )
    for name, weight in proposed.model.state_dict().items():
        assert torch.equal(weight, begun.model.state_dict()[name])


@pytest.mark.parametrize("kind", ["student", "search"])
def test_a_run_killed_with_a_proposed_student_ends_in_the_same_model(proposing, tmp_path, kind):
    whole, folder = proposing
    killed = stopping_when(
        lambda event: event.data.get("stage") == kind and event.data.get("done") is not None
    )
    with pytest.raises(Stopped):
        compress(make_model, splits(), config=PROPOSING, out=tmp_path / "cut", on_event=killed)
    resumed = compress(make_model, splits(), resume=tmp_path / "cut")
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
    assert result(folder) == result(tmp_path / "cut")


def test_snip_towards_soft_labels_never_meets_a_hard_one(tmp_path):
    """Once the teachers have spoken, wrong labels of all members change no bit."""
    sparse = SETTINGS["sparse"] | {"initialize": {"snip-soft": {"temperature": 2}}, "rounds": 0}
    config = SETTINGS | {"sparse": sparse, "dense": TRAIN}
    first = compress(make_model, splits(), config=config, out=tmp_path / "a")
    hard = config | {"sparse": sparse | {"initialize": "snip"}}
    plain = compress(make_model, splits(), config=hard, out=tmp_path / "hard")
    other = splits.__wrapped__()
    other.members.labels[:] = (other.members.labels + 1) % 3
    at_teachers = stopping_when(lambda event: event.data.get("stage") == "teachers")
    with pytest.raises(Stopped):
        compress(make_model, other, config=config, out=tmp_path / "b", on_event=at_teachers)
    shutil.copytree(tmp_path / "a" / "teachers", tmp_path / "b" / "teachers")
    second = compress(make_model, other, resume=tmp_path / "b")
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name])
    differs = [
        not torch.equal(weight, plain.model.state_dict()[name])
        for name, weight in first.model.state_dict().items()
    ]
    assert any(differs)


def test_a_search_that_was_resumed_goes_on_where_it_was(tmp_path):
    """What teachers said is read again, and no round that was committed is made again."""
    with pytest.raises(Stopped):
        run(tmp_path / "run", on_event=stopping_at("selected", 2))
    told = []
    compress(make_model, splits(), resume=tmp_path / "run", on_event=told.append)
    assert [event.data.get("round") for event in told if event.kind == "selected"] == [2]


def test_a_student_asks_for_what_its_mask_asks_and_itself():
    assert PROPOSALS.build({"student": {"mask": "rigl"}}, where="here").requires == {
        "gradient",
        "student",
    }
    with pytest.raises(ConfigError, match="expected a change of the mask"):
        PROPOSALS.build({"student": {"mask": SOFT}}, where="here")
    cooler = PROPOSALS.build({"soft-labels": {"mask": {"student": {"mask": "set"}}}}, where="here")
    assert cooler.name == "set student soft=1"


def test_candidates_are_compared_with_teachers_that_never_saw_the_row(tmp_path):
    """Once per steering row as many teachers as leave a member out, and none that saw it."""
    prepared = prepare(load_config(SETTINGS | {"steer": STEER}), make_model, splits())
    folder = RunFolder.create(tmp_path / "run", config_yaml=dump_yaml(prepared.config))
    session = take_up(prepared, folder, silent)
    outputs = train_teachers(session)
    config, steer = prepared.config.teachers, splits().steer
    unseen = held_out(splits().members, config, seed=prepared.config.seed)
    place = {row: k for k, row in enumerate(splits().members.ids.tolist())}
    labels = labels_of(tmp_path / "run")
    for k, row in enumerate(steer.members.ids.tolist()):
        assert int(unseen[:, place[row]].sum()) == config.held_out
        own = labels[row][:, steer.members.labels[k]].double()
        ours = outputs.references.members.log_odds[:, k]
        assert torch.allclose(ours, torch.logit(own), atol=1e-4)
    for references, rows in (
        (outputs.references.members, steer.members),
        (outputs.references.nonmembers, steer.nonmembers),
    ):
        assert references.log_odds.shape == (config.held_out, len(rows))
        assert not references.seen.any()
    assert len(outputs.references.nonmembers.log_odds.unique(dim=1).T) > 1


def test_the_calibrated_attack_runs_where_there_are_teachers_and_only_there(soft, tmp_path):
    begin(tmp_path / "masks")
    without = SETTINGS | {"steer": STEER | {"calibrated": False}}
    compress(make_model, splits(), config=without, out=tmp_path / "without")
    folders = {"soft": soft[1], "masks": tmp_path / "masks", "without": tmp_path / "without"}
    asked = {
        name: {m for line in read_history(folder) for m in line["measures"]}
        for name, folder in folders.items()
    }
    assert "calibrated.auc" in asked["soft"]
    assert "calibrated.auc" not in asked["masks"] | asked["without"]
    named = SETTINGS | {"steer": SETTINGS["steer"] | {"attacks": ["loss", "calibrated"]}}
    with pytest.raises(ConfigError, match=r"attacks\[1\]: calibrated needs references.*unless"):
        prepare(load_config(named), make_model, splits())
