"""Teachers whose training the run chooses: by rows they never saw, and never shorter for fewer."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress import compress
from safecompress.compression.teacher_folds import held_out
from safecompress.compression.teacher_settings import TeacherSetting, Trial, can_widen, choose
from safecompress.compression.teachers import teachers_steps
from safecompress.config import (
    ModelConfig,
    TeacherChoiceConfig,
    TeachersConfig,
    TrainConfig,
    load_config,
)
from safecompress.errors import ConfigError, NonFiniteError
from safecompress.files import read_json, read_tensors
from safecompress.models import MODELS, build_model
from safecompress.train import steps_per_epoch
from tests.small_runs import SETTINGS, brisk, splits, stopping_at
from tests.support import count

MODEL = {"name": "mlp", "options": {"hidden": [8]}}
SOFT = {"soft-labels": {"mask": "rigl"}}
CHOICE = {"rates": [1, 4], "steps": [1, 2], "widths": [1, 2], "noise": [0, 0.3]}


@pytest.fixture(autouse=True)
def _brisk():
    with brisk():
        yield


def run(folder, data=None, *, teachers, **options):
    steer = SETTINGS["steer"] | {"proposals": [SOFT, "set"]}
    config = SETTINGS | {"model": MODEL, "steer": steer, "teachers": teachers}
    return compress(None, data or splits(), config=config, out=folder, **options)


def tried(folder):
    return read_json(folder / "teachers" / "choice.json")["tried"]


@given(
    epochs=st.floats(0.1, 50),
    batch=st.integers(1, 300),
    members=st.integers(2, 5000),
    share=st.floats(0.01, 1),
    factor=st.sampled_from([1.0, 1.5, 2.0]),
)
@settings(max_examples=count(200, 5000), deadline=None)
def test_fewer_rows_never_mean_fewer_steps(epochs, batch, members, share, factor):
    train = TrainConfig(epochs=epochs, batch_size=batch)
    rows = max(1, int(members * share))
    changed = TeacherSetting(steps=factor).train(train, members=members, rows=rows)
    taken = round(changed.epochs * steps_per_epoch(rows, changed))
    assert taken == round(factor * round(epochs * steps_per_epoch(members, train)))


def test_without_a_choice_no_setting_of_the_training_changes():
    train = TrainConfig(noise=0.1)
    assert TeacherSetting.of(TeachersConfig()).train(train, members=100, rows=50) == train


@given(
    values=st.lists(st.integers(0, 100), min_size=11, max_size=11),
    failing=st.sets(st.integers(0, 10)),
)
@settings(max_examples=count(100, 2000), deadline=None)
def test_the_best_trial_is_kept_and_trials_are_bounded(values, failing):
    config = TeacherChoiceConfig(options=({"hidden": [4]}, {"hidden": [5]}))
    asked = []

    def attempt(setting):
        number = len(asked)
        asked.append(setting)
        accuracy = None if number in failing else values[number] / 100
        return Trial(setting, accuracy, 1)

    if set(range(config.most_trainings)) <= failing:
        with pytest.raises(NonFiniteError, match=r"all 8 trainings of a teacher diverged"):
            choose(config, attempt)
        return
    best, made = choose(config, attempt)
    assert len(made) == len(asked) == config.most_trainings
    assert len({json.dumps(t.to_json(), sort_keys=True) for t in made}) == len(made)
    reached = [-1 if t.accuracy is None else t.accuracy for t in made]
    assert best is made[reached.index(max(reached))]


def test_a_part_that_is_fixed_is_never_changed():
    config = TeacherChoiceConfig(options=({"hidden": [4]},))
    seen = []
    choose(
        config,
        lambda s: seen.append(s) or Trial(s, len(seen) / 100, 1),
        fixed=("width", "noise"),
    )
    assert {(s.width, s.noise) for s in seen} == {(1.0, 0.0)}
    assert len({s.rate for s in seen}) == 3


PRETRAINED = frozenset({"hugging_face"})
"""Families whose weights come with their width."""


def test_a_pretrained_family_cannot_be_widened():
    for name in PRETRAINED:
        assert not can_widen(ModelConfig(name=name, options={"folder": "a"}))


@pytest.mark.parametrize("name", sorted(set(MODELS.all()) - PRETRAINED))
def test_every_other_family_can_be_widened(name, request):
    shape = (12,) if name == "bert" else (3, 32, 32)
    options = {"hidden": [6, 4]} if name == "mlp" else {"width": 0.25}
    if name == "bert":
        options["tokenizer"] = str(request.getfixturevalue("text_folder"))
    config = ModelConfig(name=name, options=options)
    assert can_widen(config)

    def weights(of):
        module = build_model(of, input_shape=shape, classes=3, seed=0)
        return sum(p.numel() for p in module.parameters())

    assert weights(TeacherSetting(width=2.0).model(config)) > 1.5 * weights(config)


def test_the_choice_is_by_rows_the_teacher_never_saw(tmp_path):
    made = run(tmp_path / "run", teachers={"choose": CHOICE})
    trials = tried(tmp_path / "run")
    assert len(trials) == TeacherChoiceConfig(**CHOICE).most_trainings == 5
    members = splits().members
    unseen = held_out(members, TeachersConfig(), seed=0)[0]
    first = read_tensors(tmp_path / "run" / "teachers" / "1.safetensors")
    assert torch.equal(first["ids"], members.ids[unseen])
    right = (first["probabilities"].argmax(1) == members.labels[unseen]).double().mean()
    best = max(trial["accuracy"] for trial in trials)
    assert float(right) == best
    recorded = read_json(tmp_path / "run" / "provenance.json")["teachers"]
    assert recorded["accuracy"] == best
    assert list(recorded["tried"].values()) == [trial["accuracy"] for trial in trials]
    report = (made.folder / "report.html").read_text()
    assert recorded["chosen"] in report


def test_all_teachers_train_as_chosen_and_as_long_as_on_all_members(tmp_path):
    run(tmp_path / "run", teachers={"choose": {"rates": [1], "widths": [1], "noise": [0]}})
    first, second = tried(tmp_path / "run")
    train = load_config(SETTINGS | {"model": MODEL}).sparse.train
    whole = round(train.epochs * steps_per_epoch(len(splits().members), train))
    assert (first["optimizer_steps"], second["optimizer_steps"]) == (whole, 2 * whole)


def test_a_run_killed_while_it_chooses_ends_in_the_same_model(tmp_path):
    whole = run(tmp_path / "whole", teachers={"choose": CHOICE})
    with pytest.raises(Exception, match="note 3"):
        run(tmp_path / "cut", teachers={"choose": CHOICE}, on_event=stopping_at("note", 3))
    assert 2 <= len(tried(tmp_path / "cut")) < 5
    resumed = compress(None, splits(), resume=tmp_path / "cut")
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
    assert tried(tmp_path / "whole") == tried(tmp_path / "cut")


def test_a_setting_that_diverges_is_recorded_and_not_taken(tmp_path):
    choice = {"rates": [1, 1e30], "steps": [1], "widths": [1], "noise": [0]}
    run(tmp_path / "run", teachers={"choose": choice})
    trials = tried(tmp_path / "run")
    assert trials[1]["accuracy"] is None
    assert trials[0]["accuracy"] is not None


@pytest.mark.parametrize("equal", ["epochs", "steps"])
def test_the_steps_ahead_are_those_that_teachers_take(equal, tmp_path):
    config = TeachersConfig(equal=equal)
    train = TrainConfig(epochs=10, batch_size=10)
    whole = 10 * 10 if equal == "steps" else 10 * 5
    assert teachers_steps(100, config, train) == 4 * whole


def test_an_option_that_the_model_refuses_is_found_before_training(tmp_path):
    with pytest.raises(ConfigError, match="hiden"):
        run(tmp_path / "run", teachers={"choose": {"options": [{"hiden": [4]}]}})
    assert not (tmp_path / "run").exists()


def test_a_value_listed_twice_is_refused():
    with pytest.raises(ConfigError, match="rates lists a value twice"):
        load_config(SETTINGS | {"model": MODEL, "teachers": {"choose": {"rates": [1, 1]}}})
