"""A recurrent network behind an embedding is compressed without becoming a constant."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from safecompress import compress, splits_from_arrays
from safecompress.events import Event

WORDS, LENGTH = 400, 8


class Recurrent(nn.Module):
    """A small classifier of token sequences as users write them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, 16)
        self.cell = nn.GRU(16, 24, batch_first=True)
        self.out = nn.Linear(24, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.cell(self.table(x.long()))[0].mean(dim=1))


def test_it_still_tells_rows_apart_at_a_tenth_of_its_weights(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, WORDS, (1600, LENGTH), generator=draw)
    y = (x < WORDS // 2).float().mean(dim=1).gt(0.5).long()
    train = {
        "epochs": 6,
        "lr": 0.01,
        "optimizer": "adamw",
        "batch_size": 32,
        "precision": "32-true",
    }
    config = {
        "dense": train,
        "sparse": {"density": 0.1, "rounds": 1, "train": train},
        "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    }
    notes: list[Event] = []
    splits = splits_from_arrays(x, y, preprocessing={"features": "none"}, seed=0)
    run = compress(Recurrent, splits, config=config, out=tmp_path / "run", on_event=notes.append)
    counts = {n: int((w != 0).sum()) for n, w in run.model.state_dict().items() if w.ndim > 1}
    assert counts["cell.weight_hh_l0"] > 0.05 * 72 * 24
    assert not any("hardly any signal" in event.text for event in notes)
    others = run.splits.steer.nonmembers
    with torch.inference_mode():
        right = (run.model(others.inputs).argmax(dim=1) == others.labels).float().mean()
    usual = float(others.labels.float().mean())
    assert right > max(usual, 1 - usual) + 0.1
