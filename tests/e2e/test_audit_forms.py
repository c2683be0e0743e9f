"""Audits of outputs in other forms end in the figures of the plain ones, on every way in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safecompress import audit, record
from safecompress.audits.pair import pair
from safecompress.errors import UsageError
from tests.recorded_outputs import Arrays, code, run, saved, with_references
from tests.target_files import audited, groups, linear_onnx, saved_groups


def softmax(z: Any) -> Any:
    e = np.exp(z.astype(np.float64) - z.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)


def in_form(found: Arrays, form: Any) -> Arrays:
    return {k: form(v) if k.endswith("logits") else v for k, v in found.items()}


def lira(found: Arrays) -> float:
    """Return the AUC of online LiRA with one variance for all rows, computed here."""
    odds: dict[str, list[Any]] = {}
    for group in ("member", "nonmember"):
        label = found[f"{group}_labels"]
        for what in ("", "reference_"):
            p = found[f"{group}_{what}logits"].astype(np.float64)
            at = np.broadcast_to(label[..., None], (*p.shape[:-1], 1))
            right = np.take_along_axis(p, at, -1)[..., 0]
            odds.setdefault(group, []).append(np.log(right) - np.log(p.sum(-1) - right))
        odds[group].append(found[f"{group}_reference_seen"])
    both = [np.concatenate([o, n], axis=-1) for o, n in zip(*odds.values(), strict=True)]
    own, theirs, seen = both
    means = [np.nanmean(np.where(seen == side, theirs, np.nan), axis=0) for side in (True, False)]
    spread = [
        np.nanmean(np.nanvar(np.where(seen == side, theirs, np.nan), axis=0, ddof=1))
        for side in (True, False)
    ]
    scores = [
        -((own - m) ** 2) / (2 * s) - np.log(s) / 2 for m, s in zip(means, spread, strict=True)
    ]
    ratio = scores[0] - scores[1]
    count = len(found["member_labels"])
    ranks = ratio.argsort().argsort()[:count]
    return float((ranks.sum() - count * (count - 1) / 2) / (count * (len(ratio) - count)))


def figures(path: Path, **options: Any) -> dict[str, float]:
    checks = audit(path, **options).verdict.checks
    return {c.name.split(" ")[0]: c.estimate.value for c in checks if c.estimate}


def test_one_entry_a_bit_above_1_changes_nothing(tmp_path: Path) -> None:
    clean = in_form(with_references(300, leak=1.0), softmax)
    right = lira(clean)
    assert right > 0.85
    bent = {k: v.copy() for k, v in clean.items()}
    for name in ("member_logits", "nonmember_logits", "member_reference_logits"):
        row = bent[name][(0,) * (bent[name].ndim - 1)]
        most = np.argmax(row)
        row[:] = -1e-7
        row[most] = np.nextafter(np.float32(1), np.float32(2))
    forms = (lambda p: 100 * p, lambda p: p * np.float32(1 + 3e-7), np.log)
    for found in (bent, *(in_form(clean, form) for form in forms)):
        told = figures(saved(tmp_path, found))
        assert told["lira-online.auc"] == pytest.approx(right, abs=0.004)


def test_the_command_line_declares_outputs(tmp_path: Path) -> None:
    z = with_references()
    found = in_form({k: v for k, v in z.items() if "reference" not in k}, lambda v: softmax(v) / 2)
    path = saved(tmp_path, found)
    refused = run(path, "--out", tmp_path / "a")
    assert code(refused) == 2
    assert "--outputs" in str(refused.exception)
    declared = run(path, "--outputs", "probabilities", "--out", tmp_path / "b")
    assert code(declared) in {0, 3}, declared.output
    assert "outputs were read as probabilities" in declared.output
    assert code(run(path, "--outputs", "odds", "--out", tmp_path / "c")) == 2


def data(rows: int = 400) -> Any:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, rows, 4, generator=draw)
    return x, (x[..., 0] + 0.5 * torch.randn(2, rows, generator=draw) > 0).long()


def test_a_column_of_two_classes_is_audited_as_two() -> None:
    x, y = data()
    line = nn.Linear(4, 1)
    nn.init.constant_(line.weight, 0.0)
    line.weight.data[0, 0] = 3.0
    groups = ((x[0], y[0]), (x[1], y[1]))
    wanted = record(lambda v: torch.cat([0 * line(v), line(v)], dim=1), *groups)
    for model in (
        line,
        lambda v: line(v)[:, 0],
        lambda v: line(v).sigmoid(),
        lambda v: line(v).sigmoid()[:, 0].detach().numpy(),
    ):
        found = record(model, *groups)
        assert found.outputs.members.classes == 2
        torch.testing.assert_close(
            found.outputs.nonmembers.losses, wanted.outputs.nonmembers.losses, atol=1e-5, rtol=1e-4
        )


def test_repeated_and_shared_rows_are_treated_alike_on_every_way_in() -> None:
    x, y = data(60)
    net = nn.Linear(4, 2)
    net.weight.data = torch.tensor([[-2.0, 0.1, 0, 0], [2.0, 0, 0.1, 0]])
    once = audit(net, ((x[0], y[0]), (x[1], y[1]))).verdict
    often = tuple((v.repeat(20, 1), w.repeat(20)) for v, w in zip(x, y, strict=True))
    told = audit(net, often).verdict
    assert [(c.name, c.status) for c in told.checks] == [(c.name, c.status) for c in once.checks]
    assert any("judged once" in remark for remark in told.document.remarks)
    shared = ((x[0], y[0]), (x[0] * (1 + 1e-7), y[0]))
    for ask in (lambda: audit(net, shared), lambda: record(net, *shared)):
        with pytest.raises(UsageError, match="the same rows are in both groups"):
            ask()


def test_a_full_model_a_bit_off_gives_the_same_similarity() -> None:
    x, y = data()
    torch.manual_seed(0)
    small = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    full = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    for net in (small, full):
        steps = torch.optim.Adam(net.parameters(), lr=0.05)
        for _ in range(60):
            steps.zero_grad()
            nn.functional.cross_entropy(net(x[0]), y[0]).backward()
            steps.step()
    recorded = record(small, (x[0], y[0]), (x[1], y[1]))
    options: Any = {
        "span": None,
        "max_transfer": 1.0,
        "max_saving": 9.0,
        "max_gain": 1.0,
        "level": 0.95,
        "seed": 0,
    }
    told = [
        pair(recorded, model, where="full", **options).similarity.divergence.value
        for model in (full, lambda v: full(v).softmax(1), lambda v: full(v).softmax(1) * (1 + 3e-7))
    ]
    assert told == pytest.approx([told[0]] * 3, abs=1e-5)


def test_json_is_all_that_a_program_reads(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model, files = linear_onnx(tmp_path / "m.onnx"), saved_groups(tmp_path, groups(400))
    out = tmp_path / "out"
    status, said, complaint = audited(model, "--data", *files, "--json", "--out", out)
    events = [json.loads(line) for line in said.splitlines()]
    assert events[0]["event"] == "stage"
    assert events[-1]["event"] == "verdict"
    assert events[-1]["exit_code"] == status
    assert complaint == ""
