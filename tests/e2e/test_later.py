"""What a run of objects leaves behind can be used in a later process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from safecompress import audit, export, load
from safecompress.compress import Run
from safecompress.errors import ConfigError, ModelError, RunFolderError
from tests import commands, small_runs
from tests.commands import Command

COMMAND = "from safecompress_command import main; main()"
OBJECTS = (
    "--model",
    "tests.small_runs:make_model",
    "--splits",
    "tests.small_runs:splits",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with small_runs.brisk():
        return small_runs.begin(tmp_path_factory.mktemp("later") / "run")


def command(*words: str | Path) -> Command:
    """Run the command line in a process of its own, from the folder that holds the objects."""
    return commands.command(*words, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("model", [small_runs.make_model, small_runs.make_model()])
def test_every_model_of_the_run_is_loaded(run: Run, model: object) -> None:
    rows = run.splits.steer.members.inputs
    small = load(run.folder, model=model)  # type: ignore[arg-type]
    torch.testing.assert_close(small(rows), run.model(rows), rtol=0, atol=0)
    dense = load(run.folder / "dense.safetensors", model=model)  # type: ignore[arg-type]
    assert all(
        (weight != 0).all() for name, weight in dense.state_dict().items() if "weight" in name
    )
    assert not torch.equal(dense(rows), small(rows))


def test_a_file_that_is_not_there_and_another_architecture_are_refused(run: Run) -> None:
    with pytest.raises(RunFolderError, match=r"no teacher\.safetensors in it"):
        load(run.folder / "teacher.safetensors", model=small_runs.make_model)
    with pytest.raises(ModelError, match="does not fit the stored weights"):
        load(run.folder, model=lambda: torch.nn.Linear(6, 3))
    with pytest.raises(ModelError, match="pass a callable that makes it"):
        load(run.folder)
    for wrong in (lambda width: None, lambda: 3, "tests.small_runs:make_model"):
        with pytest.raises(ModelError, match=r"^model: "):
            load(run.folder, model=wrong)  # type: ignore[arg-type]


def test_it_is_audited_and_exported_with_its_objects(run: Run, tmp_path: Path) -> None:
    found = audit(run.folder, small_runs.splits(), model=small_runs.make_model, baseline="dense")
    assert {row.name for row in found.verdict.document.comparison} == {"model", "dense"}
    path = tmp_path / "m.safetensors"
    done = export(
        run.folder,
        path,
        format="safetensors",
        model=small_runs.make_model,
        data=small_runs.splits(),
        allow_failed=True,
    )
    assert done.document.faithful
    assert path.is_file()


def test_other_splits_and_objects_of_no_run_are_refused(run: Run) -> None:
    with pytest.raises(RunFolderError, match="its data changed since the run"):
        audit(run.folder, small_runs.splits(seed=1), model=small_runs.make_model)
    with pytest.raises(RunFolderError, match=r"a data object.*--splits") as caught:
        audit(run.folder, model=small_runs.make_model)
    assert "--model" not in str(caught.value)
    with pytest.raises(ConfigError, match="belong to a run folder"):
        audit(run.model, small_runs.splits())


def test_the_command_line_names_the_objects(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    words = ("export", run.folder, "--out", path, "--format", "safetensors", "--allow-failed")
    asked = command(*words)
    assert asked.returncode == 2
    assert "--model package.module:make_model" in asked.stderr
    done = command(*words, *OBJECTS)
    assert path.is_file(), done.stderr
    assert json.loads(path.with_name(f"{path.name}.json").read_text())["faithful"]
    judged = command("audit", run.folder, *OBJECTS, "--out", tmp_path / "audit", "--quiet")
    assert (tmp_path / "audit" / "verdict.json").is_file(), judged.stderr
    wrong = command(*words, "--model", "tests.small_runs:make_model", "--splits", "os:getcwd")
    assert "--splits: os:getcwd returned str; expected Splits" in wrong.stderr
