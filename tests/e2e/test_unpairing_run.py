"""A run that hides its members and its dense model at once, from configuration to verdict."""

from __future__ import annotations

import json

import pytest

from safecompress import compress
from safecompress.errors import ConfigError

CONFIG = {
    "seed": 0,
    "data": {
        "source": {"source": "sklearn", "name": "digits"},
        "split": {"membership": "fresh", "rows": 900, "members": 400, "steer": 0.5},
    },
    "model": {"name": "mlp", "options": {"hidden": [32]}},
    "dense": {"epochs": 6, "lr": 0.1, "batch_size": 50},
    "sparse": {
        "density": 0.3,
        "rounds": 1,
        "train": {"epochs": 6, "lr": 0.1, "batch_size": 50},
    },
    "steer": {
        "search": "every-round",
        "proposals": ["rigl", {"unpair": {"weight": 2.0, "mask": "rigl"}}],
        "attacks": ["loss"],
        "measures": [{"transfer": {"norm": "l2", "radius": 1.0, "rows": 60, "epochs": 1}}],
        "objective": {"bounded": {"tolerance": 1.0}},
    },
    "baselines": [],
    "verdict": {
        "checks": [
            {"measure": "density", "condition": {"at_most": 0.3001}},
            {
                "measure": {"transfer": {"norm": "l2", "radius": 1.0, "rows": 100, "epochs": 1}},
                "condition": {"at_most": 0.99},
            },
        ]
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return compress(config=CONFIG, out=tmp_path_factory.mktemp("run") / "r")


def test_the_loop_weighs_transfer_and_takes_the_safer_candidate(run):
    history = (run.folder / "history.jsonl").read_text()
    lines = [json.loads(line) for line in history.splitlines()]
    risks = {r["proposal"]: r["measures"]["transfer-l2.rate"] for r in lines}
    assert risks["rigl unpair=2"] < risks["rigl"]
    assert [r["proposal"] for r in lines if r["selected"]] == ["rigl unpair=2"]


def test_the_verdict_attacks_the_dense_parent(run):
    checks = {c.name: c for c in run.verdict.checks}
    found = checks["transfer-l2.rate ≤ 0.99"]
    assert found.estimate is not None
    assert found.estimate.n_nonmembers > 0
    assert found.message.startswith(("strongest attacker", "masked gradients"))


def test_the_mask_is_kept(run):
    total = sum(p.numel() for p in run.model.parameters() if p.ndim > 1)
    kept = sum(int((p != 0).sum()) for p in run.model.parameters() if p.ndim > 1)
    assert kept / total <= 0.3001


def test_a_measure_the_loop_cannot_take_is_refused_early(tmp_path):
    steer = CONFIG["steer"] | {"measures": [{"transfer": {"norm": "l7"}}]}
    with pytest.raises(ConfigError, match=r"steer.measures\[0\].*norm is 'l7'"):
        compress(config=CONFIG | {"steer": steer}, out=tmp_path / "r")
