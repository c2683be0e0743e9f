"""A package that publishes an attack through an entry point, as a user would find it installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ATTACK = '''
from dataclasses import dataclass
from typing import Any, ClassVar
from torch import Tensor
from safecompress.protocols import Attack, Evidence

@dataclass(frozen=True)
class MarginAttack(Attack):
    """Members have a larger gap between the largest logits."""

    name: ClassVar[str] = "margin"
    rank: int = 2

    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        largest = evidence.outputs.logits.double().topk(self.rank).values
        return largest[:, 0] - largest[:, -1]
'''
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
    info = site / "margin_attack-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "margin_attack.py").write_text(ATTACK)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: margin-attack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[safecompress.attacks]\nmargin = margin_attack:MarginAttack\n"
        "loss = margin_attack:MarginAttack\n"
    )
    return site


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "safecompress.cli", *arguments],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_published_attack_is_listed_and_replaces_none(installed: Path) -> None:
    listed = run(installed, "list", "attacks").stdout
    assert "margin" in listed
    assert listed.count("Members have a larger gap") == 1


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
