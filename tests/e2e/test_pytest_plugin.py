"""The pytest plugin in a project that is not ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pytest_safecompress import assert_safe
from safecompress import audit, record
from safecompress.errors import ConfigError, DataError, ModelError
from tests.commands import command
from tests.programs import pytest_session

FOREIGN = """
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

x, y = make_classification(6000, 20, n_informative=10, n_classes=3, flip_y=0.2, random_state=0)
data = (x[:3000], y[:3000]), (x[3000:], y[3000:])
few = tuple((x[:500], y[:500]) for x, y in data)


def test_a_linear_model_is_safe(safety):
    model = LogisticRegression(max_iter=500).fit(*data[0])
    found = safety.assert_safe(lambda x: model.predict_proba(x.numpy()), data, max_auc=0.56)
    assert found.verdict.exit_code == 0


def test_nearest_neighbors_know_their_members(safety):
    model = KNeighborsClassifier(1).fit(*few[0])
    safety.assert_safe(lambda x: model.predict_proba(x.numpy()), few, max_auc=0.56)


def test_the_report_is_written(safety):
    model = LogisticRegression(max_iter=500).fit(*few[0])
    page = safety.report(lambda x: model.predict_proba(x.numpy()), few)
    assert page.read_text().startswith("<!doctype html>")
"""


def test_a_foreign_project_uses_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_model.py").write_text(FOREIGN)
    options = ("-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", os.devnull)
    done = command("-q", tmp_path, *options, cwd=tmp_path, program=pytest_session)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "FAIL" in done.stdout
    assert "members that" in done.stdout
    assert "is surest of" in done.stdout


def test_the_plugin_imports_nothing_heavy() -> None:
    program = "import sys, pytest_safecompress; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


def rows(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=draw)
    noise = torch.randint(0, 3, (n,), generator=draw)
    return x, torch.where(noise == 0, (x[:, 0] > 0).long(), (x[:, 1] > 0).long())


def memorized() -> tuple[nn.Module, tuple[tuple[torch.Tensor, torch.Tensor], ...]]:
    """Return a network trained until it knows its rows by heart, and both groups."""
    members, others = rows(600, 0), rows(600, 1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
    net.append(nn.Linear(256, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(members[0]), members[1]).backward()
        optimizer.step()
    return net, (members, others)


def test_an_over_trained_net_fails_and_names_its_most_exposed_members() -> None:
    net, data = memorized()
    net.train()
    with pytest.raises(AssertionError) as caught:
        assert_safe(net, data, max_auc=0.60)
    assert "FAIL" in str(caught.value)
    assert "row " in str(caught.value)
    assert net.training
    found = audit(net, data)
    assert found.strongest
    rates = [e.false_positive_rate for e in found.exposed]
    assert len(rates) == 10
    assert all(0 <= rate <= 0.5 for rate in rates)
    assert all(0 <= e.row < 600 for e in found.exposed)
    scores = [e.score for e in found.exposed]
    assert scores == sorted(scores, reverse=True)


def small(data: tuple[tuple[torch.Tensor, torch.Tensor], ...]) -> nn.Module:
    """Return a linear model of the members, too small to know any of them by heart."""
    torch.manual_seed(1)
    net = nn.Linear(6, 2)
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data[0][0]), data[0][1]).backward()
        optimizer.step()
    return net


def test_a_small_net_passes_or_is_undecided() -> None:
    data = rows(600, 0), rows(600, 1)
    found = assert_safe(small(data), data, max_auc=0.60, inconclusive=True)
    blind = next(c for c in found.verdict.checks if c.name == "control: blind baseline")
    assert "inputs and labels" in blind.message


def test_an_untrained_net_is_no_model_of_these_rows() -> None:
    data = rows(2000, 0), rows(2000, 1)
    torch.manual_seed(1)
    with pytest.raises(ModelError, match="A verdict would be a false PASS"):
        assert_safe(nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 2)), data)


def test_groups_that_differ_by_themselves_are_an_error() -> None:
    members, others = rows(600, 0), rows(600, 1)
    shifted = (others[0] + 1.0, others[1])
    with pytest.raises(AssertionError, match="ERROR"):
        assert_safe(small((members, others)), (members, shifted))


def test_the_smaller_model_is_compared_with_the_dense_one() -> None:
    net, data = memorized()
    found = audit(small(data), data, baseline=net)
    checks = {c.name: c for c in found.verdict.checks}
    assert checks["gap.auc ≤ dense + 0.02"].status == "PASS"


def test_every_kind_of_model_gives_the_same_record() -> None:
    members, others = rows(50, 0), rows(40, 1)
    layer = nn.Linear(6, 2)

    class Named(nn.Module):
        def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": layer(features)}

    def in_numpy(x: torch.Tensor) -> np.ndarray:
        return layer(x).detach().numpy().astype(np.float64)

    plain = record(layer, members, others)
    named = record(
        Named(), ({"features": members[0]}, members[1]), ({"features": others[0]}, others[1])
    )
    called = record(in_numpy, members, others)
    arrays = record(
        layer, (members[0].numpy(), members[1].numpy()), (others[0], others[1].tolist())
    )
    for found in (named, called, arrays):
        for group in ("members", "nonmembers"):
            ours, theirs = (getattr(r.outputs, group) for r in (plain, found))
            torch.testing.assert_close(ours.logits, theirs.logits)
            assert torch.equal(ours.ids, theirs.ids)


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        (torch.zeros(5, 6), DataError, "pair of inputs and labels"),
        (
            (torch.zeros(5, 6), torch.zeros(4, dtype=torch.long)),
            DataError,
            "5 rows of inputs and 4",
        ),
        ((torch.zeros(5, 6), torch.zeros(5) + 0.5), DataError, "no whole numbers"),
        ((["a"] * 5, torch.zeros(5, dtype=torch.long)), ModelError, "cells that are no numbers"),
        ((torch.zeros(0, 6), torch.zeros(0, dtype=torch.long)), DataError, "at least one row"),
    ],
)
def test_rows_that_do_not_fit_are_refused(members, error, message) -> None:
    with pytest.raises(error, match=message):
        record(nn.Linear(6, 2), members, rows(5, 0))


def test_models_that_cannot_be_recorded_are_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \(3,\) for 5 rows"):
        record(lambda x: np.zeros(3), rows(5, 0), rows(5, 1))
    with pytest.raises(ConfigError, match="data: missing"):
        audit(nn.Linear(6, 2))
