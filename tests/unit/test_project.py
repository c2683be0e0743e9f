"""What the project promises to those who use and keep it: files that must agree with the code."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import safecompress
from safecompress.cli.kinds import KINDS
from tests.documents import ROOT

API = (ROOT / "docs" / "api.md").read_text()
PACKAGE = ROOT / "src" / "safecompress"
CONFIG = ROOT / ".github/ISSUE_TEMPLATE/config.yml"
PACKAGES = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def _first_cells(heading: str) -> list[str]:
    """Return the names in code style of the first cells of the tables under a heading."""
    _, _, section = API.partition(f"\n## {heading}\n")
    section = section.partition("\n## ")[0]
    cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


FORMS = sorted(set((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) - {CONFIG})
VERBS = _first_cells("Eight verbs")


def test_the_public_names_are_those_of_the_statement() -> None:
    stated = VERBS + _first_cells("The other public names")
    assert sorted(stated) == sorted(safecompress.__all__)


def test_there_are_eight_verbs() -> None:
    assert len(VERBS) == 8


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_itself_in_an_example_that_runs(verb: str) -> None:
    function = getattr(safecompress, verb)
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(function) or "")
    # `--doctest-modules` runs what is neither skipped nor without a call of the verb.
    run = [e.source for e in examples if not e.options.get(doctest.SKIP)]
    assert any(re.search(rf"\b{verb}\(", source) for source in run)
    assert any(e.want for e in examples)


def test_every_group_of_parts_is_stated_and_no_other() -> None:
    named = _first_cells("For authors of parts")
    groups = {registry.group for registry in KINDS.values()}
    assert groups <= set(named)
    for module in set(named) - groups:
        importlib.import_module(module)


def test_the_citation_is_of_the_newest_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    title = f"## [{citation['version']}] - {citation['date-released']}"
    assert citation["version"] == safecompress.__version__
    assert title in (ROOT / "CHANGELOG.md").read_text().splitlines()


@pytest.mark.parametrize("form", FORMS)
def test_an_issue_form_is_one_that_github_shows(form: Path) -> None:
    document: dict[str, Any] = yaml.safe_load(form.read_text())
    assert document["name"]
    assert document["description"]
    asked = [field for field in document["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in asked]
    assert len(names) == len(set(names)) > 0
    assert all(field["attributes"]["label"] for field in asked)
    assert {field["type"] for field in asked} <= {"textarea", "input", "dropdown", "checkboxes"}


def test_both_ways_to_check_a_change_run_the_same_commands() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    hosted = [step["run"].split()[1] for step in job["steps"] if "run" in step]
    here = re.findall(r"^ *make (\w+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert hosted == here


def _figure(readme: str) -> str:
    """Return the README's figure with the table of folders under it."""
    start = readme.index("```text")
    return readme[start : readme.index("\n## ", start)]


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_every_package_is_found_from_the_figure_and_the_architecture(
    document: str, package: str
) -> None:
    text = (ROOT / document).read_text()
    if document == "README.md":
        text = _figure(text)
    assert re.search(rf"`{package}/?`", text)


def test_the_figure_names_no_folder_that_is_not_there() -> None:
    named = re.findall(r"`(\w+)/`", _figure((ROOT / "README.md").read_text()))
    assert set(named) == set(PACKAGES)


STEPS = ("data", "splits", "dense model", "sparse model", "train", "propose", "settle", "select")
STEPS += ("performance and safety tests", "simulated attackers", "verdict", "report")


@pytest.mark.parametrize("step", STEPS)
def test_both_figures_and_the_table_of_folders_name_a_step_by_the_same_word(step: str) -> None:
    readme = _figure((ROOT / "README.md").read_text())
    picture, _, table = readme.removeprefix("```text").partition("```")
    architecture = (ROOT / "docs/architecture.md").read_text().split("```")[1]
    for place in (picture, table, architecture):
        assert re.search(rf"\b{step}\b", place)
