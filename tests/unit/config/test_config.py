from __future__ import annotations

import re
from pathlib import Path

import pytest

from safecompress.config import (
    CompressConfig,
    dump_yaml,
    load_audit_config,
    load_config,
    override,
    parse_yaml,
)
from safecompress.errors import ConfigError

BASE = {
    "data": {"source": {"source": "npz", "path": "x.npz"}},
    "model": {"name": "mlp"},
    "sparse": {"density": 0.1},
}


def test_defaults_survive_a_round_trip() -> None:
    config = load_config(BASE)
    assert load_config(parse_yaml(dump_yaml(config), where="dump")) == config


def test_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(BASE).seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("sparse.densty=0.1", "sparse.densty: unknown key; did you mean 'density'"),
        ("data.source.pth=x", "unknown key; did you mean 'path'"),
        ("data.split.member=3", "unknown key; did you mean 'members'"),
        ("sparse.train.learning_rate=3", "sparse.train.learning_rate: unknown key"),
        ("sparse.density=0", "greater than 0"),
        ("sparse.density=1.5", "less than or equal to 1"),
        ("sparse.density=.nan", "finite"),
        ("seed=-1", "greater than or equal to 0"),
        ("seed=one", "valid integer"),
        ("sparse.settle_epochs=1000", "longer than a round"),
        ("sparse.train.milestones=[0.75, 0.5]", "milestones must rise"),
        ("sparse.train.momentum=0", "nesterov needs momentum"),
        ("data.split.membership=index", "members_file goes with"),
        ("data.split.members_file=m.txt", "members_file goes with"),
        ("data.split.membership=pair", "the source has one part"),
        ("data.source.source=3", "data.source: expected a mapping whose key 'source' is the name"),
        ("data.source=digits", "data.source: expected a mapping whose key 'source' is the name"),
        ("steer.population=0", "greater than or equal to 1"),
        ("verdict.level=1", "less than 1"),
        ("verdict.checks=[{measure: accuracy, condition: {}}]", "exactly one"),
        ("engine.devices=0", "greater than 0"),
    ],
)
def test_bad_values_are_named(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match="(?s)" + message.replace("[", r"\[")):
        load_config(BASE, assignments=[assignment])


def test_every_problem_is_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(BASE, assignments=["seed=-1", "sparse.density=7", "modell=3"])
    assert all(word in str(caught.value) for word in ("seed", "sparse.density", "modell"))


def test_environment_variables_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_FOLDER", "/data")
    config = load_config(BASE, assignments=["data.source.path=${SOME_FOLDER}/x.npz"])
    assert config.data is not None
    assert str(config.data.source.path) == "/data/x.npz"  # type: ignore[union-attr]


def test_missing_environment_variable_says_how_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_FOLDER", raising=False)
    with pytest.raises(ConfigError, match=r"data.source.path.*SOME_FOLDER.*export SOME_FOLDER"):
        load_config(BASE, assignments=["data.source.path=${SOME_FOLDER}/x.npz"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "not valid YAML"),
        ("- 1\n- 2", "expected a mapping"),
        ("", "expected a mapping"),
        ("seed: 1\nseed: 2", "given twice"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_bad_yaml(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, where="f.yaml")


def test_scientific_notation_is_a_number() -> None:
    assert parse_yaml("lr: 1e-3", where="t")["lr"] == 0.001


@pytest.mark.parametrize("assignment", ["seed", "=3", "a..b=3", "seed.x=3"])
def test_bad_assignments(assignment: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        override({"seed": 1}, [assignment])


def test_override_leaves_its_input_alone() -> None:
    settings = {"sparse": {"density": 0.1}}
    override(settings, ["sparse.density=0.2"])
    assert settings == {"sparse": {"density": 0.1}}


def test_schema_is_json_schema() -> None:
    schema = CompressConfig.model_json_schema()
    assert schema["type"] == "object"
    assert "sparse" in schema["properties"]


def test_the_documented_audit_configuration_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "audit.yaml").write_text(block)
    config = load_audit_config(tmp_path / "audit.yaml")
    assert config.time_budget == 120
    assert config.limits.max_tpr == ("0.01@0.001",)
    assert load_audit_config(config) is config


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "target: missing"),
        ({"target": "a", "limit": {}}, "did you mean 'limits'"),
        ({"target": "a", "limits": {"max_acu": 0.6}}, "did you mean 'max_auc'"),
        ({"target": "a", "limits": {"max_auc": 0.4}}, "limits.max_auc"),
        ({"target": "a", "limits": {"max_tpr": ["0.01"]}}, "no TPR@FPR"),
        ({"target": "a", "time_budget": "soon"}, "no length of time"),
        ({"target": "a", "data": {"source": {"source": "npz"}}}, "data.source.path: missing"),
        ({"target": "a", "data": {"source": {"source": "npz", "path": "a", "tset_path": "b"}}},
         "did you mean 'test_path'"),
        ({"target": "a", "sparse": {"density": 0.1}}, "sparse: unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_audit_configuration_is_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_audit_config(settings)
