"""The rounds of a search: who competes, for how long, and who goes on."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from safecompress import compress
from safecompress.compression.progress import Progress
from safecompress.compression.schedule import Schedule, round_sizes
from safecompress.config import CompressConfig, load_config
from safecompress.run.folder import MODEL, read_history
from safecompress.run.model_file import read_model
from safecompress.train import Trainer
from tests.e2e.test_compress import SPARSE, make_model, make_splits

PROPOSALS = [
    "rigl",
    "set",
    "keep",
    {"set": {"fraction": 0.1}},
    {"update": {"drop": "magnitude", "grow": "momentum"}},
]
TOURNAMENT: dict[str, Any] = {"search": "tournament", "proposals": PROPOSALS, "attacks": ["loss"]}
LONG = {k: v for k, v in SPARSE.items() if k != "settle_epochs"} | {"rounds": 4}


def settings(**steer: Any) -> dict[str, Any]:
    return {"sparse": LONG, "steer": TOURNAMENT | steer, "engine": {"threads": 1}, "baselines": []}


def test_each_round_halves_the_lineages_and_each_keeps_its_proposal(tmp_path: Path) -> None:
    run = compress(make_model, make_splits(), config=settings(population=1), out=tmp_path / "run")
    history = read_history(run.folder)
    rounds = [[h for h in history if h["round"] == r] for r in (1, 2, 3, 4)]
    assert [len(lines) for lines in rounds] == [5, 3, 2, 1]
    for lines, following in pairwise(rounds):
        ranked = sorted(lines, key=lambda h: h["rank"])
        survivors = [h["proposal"] for h in ranked if h["selected"]]
        assert survivors == [h["proposal"] for h in ranked[: len(following)]]
        assert sorted(h["proposal"] for h in following) == sorted(survivors)
    assert read_model(run.folder / MODEL).metadata["lineage"] == [rounds[-1][0]["proposal"]] * 4


def test_the_fewest_kept_and_the_random_lineage(tmp_path: Path) -> None:
    compress(make_model, make_splits(), config=settings(), out=tmp_path / "two")
    assert Counter(h["round"] for h in read_history(tmp_path / "two")) == {1: 5, 2: 3, 3: 2, 4: 2}
    compress(make_model, make_splits(), config=settings(draw=1), out=tmp_path / "random")
    history = read_history(tmp_path / "random")
    assert len(history) == 4
    assert len({h["proposal"] for h in history}) == 1


@pytest.mark.parametrize(
    "steer",
    [
        {},
        {"population": 1},
        {"draw": 2},
        {"search": "every-round"},
        {"search": "every-round", "population": 2},
        {"search": "every-round", "population": 3, "draw": 1},
    ],
)
@pytest.mark.parametrize("settle", [None, 0.25])
def test_a_search_takes_the_steps_that_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steer: dict[str, Any], settle: float | None
) -> None:
    taken = {"search": 0}
    trained = Trainer.train
    stage = {"now": ""}
    entered = Progress.enter

    def counted(self: Trainer, candidate: Any, steps: int) -> Any:
        taken["search"] += steps if stage["now"] == "search" else 0
        return trained(self, candidate, steps)

    def noted(self: Progress, name: str, text: str, **data: Any) -> None:
        stage["now"] = name
        entered(self, name, text, **data)

    monkeypatch.setattr(Trainer, "train", counted)
    monkeypatch.setattr(Progress, "enter", noted)
    config = settings(**steer)
    config["sparse"] = LONG | {"settle_epochs": settle}
    # Many weights of many are exchanged at random: no two candidates are the same, none left out.
    config["sparse"] |= {"fraction_end": 0.3}
    config["steer"]["proposals"] = ["set", {"set": {"fraction": 0.4}}, {"set": {"fraction": 0.5}}]
    compress(make_model, make_splits(), config=config, out=tmp_path / "run")
    read: CompressConfig = load_config(config)
    steps = 600 // 32
    clock = Schedule.of(read.sparse, steps_per_epoch=steps, total=4 * steps)
    assert taken["search"] == clock.training_steps(round_sizes(read))
