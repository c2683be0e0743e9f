"""A package that publishes an attack through an entry point, as a user would find it installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Command, command
from tests.plugins import install

CONFIGURATION = """
data: {source: {source: sklearn, name: digits}, split: {members: 300}}
model: {name: mlp, options: {hidden: [8]}}
dense: {epochs: 1, precision: 32-true}
sparse: {density: 0.5, rounds: 1, train: {epochs: 1, precision: 32-true}}
steer: {proposals: [rigl], attacks: [loss, {margin: {rank: 3}}]}
verdict:
  checks:
    - {measure: {attack: {attack: margin}}, condition: {at_most: 0.9}}
baselines: []
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Lay out what pip leaves of a package with an entry point."""
    site = tmp_path / "site"
    value = "margin_attack:MarginAttack"
    install(site, "margin-attack", points={"margin": value, "loss": value})
    return site


def run(site: Path, *arguments: str) -> Command:
    return command(*arguments, path=(site,))


def test_a_published_attack_is_listed_and_replaces_none(installed: Path) -> None:
    listed = run(installed, "list", "attacks").stdout
    assert "margin" in listed
    assert listed.count("Members have a larger gap") == 1


def test_a_published_attack_is_shown_with_options_and_package(installed: Path) -> None:
    shown = " ".join(run(installed, "list", "attacks", "margin").stdout.split())
    assert "rank int 2 the last of the logits that are compared, at least 2." in shown
    assert "package margin-attack 1.0" in shown


def test_a_package_that_takes_a_built_in_name_is_told_of(installed: Path) -> None:
    listed = run(installed, "list", "attacks").stdout
    assert "loss: margin-attack 1.0 publishes a part of this name, too" in listed


def test_a_broken_package_harms_nobody_but_those_who_ask_for_it(
    installed: Path, tmp_path: Path
) -> None:
    code = "raise SystemExit('no licence')"
    install(installed, "locked-attack", points={"locked": "locked_attack:Attack"}, code=code)
    listed = run(installed, "list")
    assert listed.returncode == 0, listed.stderr
    assert "Members have a larger gap" in listed.stdout
    assert "locked: broken; the attack 'locked' of the package locked-attack 1.0" in listed.stdout
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION)
    assert run(installed, "validate", str(file)).returncode == 0
    for typed, told in (
        ("marginn", "did you mean 'margin'?"),
        ("lockd", "did you mean 'locked'?"),
        ("locked", "importing it raised SystemExit: no licence"),
    ):
        file.write_text(CONFIGURATION.replace("{margin: {rank: 3}}", typed))
        done = run(installed, "validate", str(file))
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_a_published_attack_steers_and_judges(installed: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION)
    done = run(installed, "compress", str(file), "--out", str(tmp_path / "run"))
    assert done.returncode in {0, 1, 3}, done.stderr
    assert '"margin.auc"' in (tmp_path / "run" / "history.jsonl").read_text()
    assert "margin.auc" in (tmp_path / "run" / "verdict.json").read_text()


def test_an_unknown_option_of_it_is_refused(installed: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION.replace("rank: 3", "ranks: 3"))
    done = run(installed, "validate", str(file))
    assert done.returncode == 2
    assert "unknown option 'ranks'; did you mean 'rank'?" in done.stderr
