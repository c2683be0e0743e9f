"""Limits after a published standard: never looser than asked, and named in the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from safecompress.attacks import ATTACKS
from safecompress.audit import Limits, audit_suite
from safecompress.checks import AttackMeasure, Suite
from safecompress.checks.presets import default_suite
from safecompress.cli import app
from safecompress.config import load_audit_config, load_config
from safecompress.config.standards import STANDARDS, Standard
from safecompress.errors import ConfigError
from tests import small_runs
from tests.imagined_verdicts import judged
from tests.recorded_outputs import arrays, saved

RATES = st.lists(st.tuples(st.floats(0.001, 0.9), st.sampled_from([0.1, 0.01, 0.001])), max_size=3)
NAMES = st.sampled_from(sorted(STANDARDS))


@given(NAMES, st.floats(0.5, 1), st.none() | st.floats(0.5, 1), RATES)
def test_the_stricter_of_both_limits_counts(
    name: Any, max_auc: float, max_group_auc: float | None, rates: list[tuple[float, float]]
) -> None:
    own = Limits(max_auc, max_tpr=tuple(rates), max_group_auc=max_group_auc)
    asked = STANDARDS[name]
    limits = Limits(max_auc, max_tpr=tuple(rates), max_group_auc=max_group_auc, standard=name)
    assert limits.max_auc == min(own.max_auc, asked.max_auc)
    by_group = own.max_auc if own.max_group_auc is None else own.max_group_auc
    assert limits.max_group_auc == min(by_group, asked.max_auc)
    found = {fpr: tpr for tpr, fpr in limits.max_tpr}
    assert len(found) == len(limits.max_tpr)
    for fpr, tpr in found.items():
        assert tpr == min(limit for limit, at in (*own.max_tpr, *asked.max_tpr) if at == fpr)


def suites(name: Any) -> list[Suite]:
    attacks = [ATTACKS.build(a, where="test") for a in ("loss", "modified-entropy", "neural")]
    return [
        audit_suite(Limits(standard=name), attacks=attacks),
        default_suite(density=0.1, relative=True, standard=name),
    ]


@pytest.mark.parametrize("name", STANDARDS)
def test_runs_and_audits_ask_for_every_limit_and_insist(name: Any) -> None:
    asked: Standard = STANDARDS[name]
    wanted = {"auc": asked.max_auc} | {f"tpr@{fpr:g}": tpr for tpr, fpr in asked.max_tpr}
    for suite in suites(name):
        for attack in ("loss", "modified-entropy", "neural", "class"):
            for metric, bound in wanted.items():
                if attack == "class" and metric != "auc":
                    continue
                named = [c for c in suite.checks if c.name == f"{attack}.{metric} ≤ {bound:g}"]
                assert [(c.critical, c.decisive) for c in named] == [(True, True)], (attack, metric)
        looser = [
            c.name
            for c in suite.checks
            if isinstance(c.measure, AttackMeasure)
            and not c.condition.relative
            and c.condition.bound > wanted.get(c.measure.metric.name, asked.max_auc)
        ]
        assert not looser


def command(path: Path, *words: str) -> tuple[int, str]:
    out = str(path.parent / "audit")
    done = CliRunner().invoke(app, ["audit", str(path), "--out", out, *words])
    return done.exit_code, done.output


def test_a_verdict_names_the_standard_and_claims_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(400, leak=0.0))
    summary = tmp_path / "summary.md"
    code, said = command(path, "--standard", "aisvs", "--markdown", str(summary))
    document = json.loads((tmp_path / "audit" / "verdict.json").read_text())
    assert (code, document["verdict"]) == (3, "INCONCLUSIVE")
    for part in ("OWASP AISVS 1.0, requirement 11.2.5", "no statement of conformity", "blind"):
        assert part in document["standard"]
    assert "2 kinds ran (label, vector)" in document["standard"]
    assert "standard: The limits follow OWASP AISVS" in " ".join(said.split())
    assert "Standard: The limits follow OWASP AISVS" in summary.read_text()
    assert "OWASP AISVS" in (tmp_path / "audit" / "report.html").read_text()
    command(path)
    assert "standard" not in json.loads((tmp_path / "audit" / "verdict.json").read_text())


def test_a_run_names_the_standard_that_its_limits_follow(tmp_path: Path) -> None:
    with small_runs.brisk():
        run = small_runs.begin(tmp_path / "run", verdict={"standard": "aisvs"})
    document = run.verdict.document
    assert "AUC at most 0.55" in document.standard
    assert "2 % found at 1 % and 0.2 % found at 0.1 % false positives" in document.standard
    assert {"loss.auc ≤ 0.55", "loss.tpr@0.001 ≤ 0.002"} <= {c.name for c in document.checks}


def test_files_judged_together_follow_it_and_count_every_attack(tmp_path: Path) -> None:
    made = arrays(300, leak=1.0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name, made).rename(tmp_path / f"{name}.npz")
        made = {k: v * 1.5 if "logits" in k else v for k, v in made.items()}
    code, _ = command(
        tmp_path / "a.npz", str(tmp_path / "b.npz"), "--jointly", "--standard", "aisvs"
    )
    document = json.loads((tmp_path / "audit" / "verdict.json").read_text())
    assert (code, document["kind"]) == (1, "joint")
    assert "of 3 kinds ran (label, vector, versions)" in document["standard"]
    assert "whether these 2 files are all that is released" in document["standard"]
    assert "b.npz: loss.auc ≤ 0.55" in {check["name"] for check in document["checks"]}


def test_too_few_kinds_of_attack_are_said() -> None:
    from safecompress.verdicts.standard_statement import standard_statement

    said = standard_statement("aisvs", judged(()), attacks=())
    assert said is not None
    assert "0 attacks of 0 kinds ran" in said
    assert "it asks for 2 kinds or more" in said
    assert "ended in NOT_RUN" in said


def test_a_standard_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no standard is called 'aisv'.*aisvs"):
        Limits(standard="aisv")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="aisvs"):
        load_audit_config({"target": "m.npz"}, assignments=["limits.standard=other"])


def test_a_run_has_checks_or_a_standard() -> None:
    base = {"model": {"name": "mlp"}, "sparse": {"density": 0.05}}
    config = load_config(base, assignments=["verdict.standard=aisvs"])
    assert config.verdict.standard == "aisvs"
    own = '[{"measure": "accuracy", "condition": {"at_least": 0.5}}]'
    with pytest.raises(ConfigError, match="give one of them"):
        load_config(base, assignments=["verdict.standard=aisvs", f"verdict.checks={own}"])
