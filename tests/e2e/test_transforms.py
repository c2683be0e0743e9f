"""Runs whose candidates have few bits and fewer channels, from the loop to the file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from safecompress import compress, load
from safecompress.cli.app import app
from safecompress.errors import ConfigError, ModelError
from safecompress.run.folder import MODEL, read_history
from safecompress.run.model_file import read_model, write_model
from safecompress.train import predict
from safecompress.transforms import (
    codes,
    input_quantizers,
    quantized,
    remove_channels,
)
from tests.small_runs import (
    SETTINGS,
    Stopped,
    begin,
    brisk,
    go_on,
    make_model,
    result,
    splits,
    stopping_at,
)

INT8 = {"quantize": {"bits": 8, "mask": "rigl"}}
CHANNELS = {"channels": {"share": 0.5, "mask": "rigl"}}
BOTH = {"quantize": {"bits": 4, "mask": CHANNELS}}
SPARSE = SETTINGS["sparse"] | {"density": 0.4}


def settings(*proposals: Any, **steer: Any) -> dict[str, Any]:
    return {
        "sparse": SPARSE,
        "steer": SETTINGS["steer"] | {"proposals": list(proposals)} | steer,
    }


def test_a_search_over_bits_and_channels_ends_with_a_verdict(tmp_path: Path) -> None:
    with brisk():
        run = begin(tmp_path / "run", **settings("rigl", INT8, CHANNELS, search="tournament"))
    assert run.verdict.status in {"PASS", "FAIL", "INCONCLUSIVE", "WARN"}
    tried = {line["proposal"] for line in read_history(run.folder)}
    assert tried == {"rigl", "rigl int8", "rigl channels=0.5"}
    assert all(line["status"] == "ok" for line in read_history(run.folder))


@pytest.mark.parametrize("proposal", [INT8, BOTH], ids=["int8", "int4 and channels"])
def test_the_file_computes_what_the_loop_judged(tmp_path: Path, proposal: Any) -> None:
    with brisk():
        run = begin(tmp_path / "run", **settings(proposal))
    stored = read_model(run.folder / MODEL)
    rows = splits().members
    loaded = load(run.folder, model=make_model)
    said = predict(loaded, rows).logits
    assert torch.equal(said, predict(run.model, rows).logits)
    assert loaded.state_dict().keys() == make_model().state_dict().keys()
    assert len(input_quantizers(loaded)) == 2
    numbers = stored.quantized()
    assert numbers is not None
    for name, mask in stored.topology.masks.items():
        weight = dict(loaded.named_parameters())[name]
        assert not bool(weight[~mask].any())
        assert torch.equal(quantized(weight, numbers.bits), weight)
        assert torch.equal(codes(weight, numbers.bits) * numbers.scales[name][:, None], weight)
    assert set(numbers.ranges) == {"0", "2"}
    if proposal is BOTH:
        smaller = remove_channels(loaded, stored.transforms.channels)
        assert smaller[0].out_features == 4
        torch.testing.assert_close(predict(smaller, rows).logits, said, rtol=1e-5, atol=1e-5)
    # A file written again from what was read is the same file.
    write_model(tmp_path / "again.safetensors", stored)
    assert (tmp_path / "again.safetensors").read_bytes() == (run.folder / MODEL).read_bytes()


def test_a_run_that_is_stopped_and_resumed_ends_in_the_same_bits(tmp_path: Path) -> None:
    config = settings("rigl", INT8, BOTH)
    with brisk():
        begin(tmp_path / "whole", **config)
        for kind, number in (("candidate", 2), ("progress", 9), ("selected", 2)):
            folder = tmp_path / f"{kind}{number}"
            with pytest.raises(Stopped):
                begin(folder, stopping_at(kind, number), **config)
            go_on(folder)
            assert result(folder)["models"] == result(tmp_path / "whole")["models"]
            assert result(folder)["history"] == result(tmp_path / "whole")["history"]


def test_a_model_without_removable_channels_is_refused_before_training(tmp_path: Path) -> None:
    data = splits()
    with pytest.raises(ModelError, match="no channels can be removed"):
        compress(
            lambda: nn.Sequential(nn.Linear(6, 3)),
            data,
            config=SETTINGS | settings(CHANNELS),
            out=tmp_path / "run",
        )

    def shifted() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.Softmax(1), nn.Linear(8, 3))

    with pytest.raises(ModelError, match="a softmax over channels"):
        compress(shifted, data, config=SETTINGS | settings(CHANNELS), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_the_extra_the_proposal_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safecompress.models.channels.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'safecompress\[channels\]'"):
        begin(tmp_path / "run", **settings(CHANNELS))
    with brisk():
        begin(tmp_path / "other", **settings("rigl"))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"quantize": {"bits": 7}}, "bits is 7; expected 8 or 4"),
        ({"quantize": {"bits": True}}, "bits is True"),
        ({"quantize": {"activations": "yes"}}, "expected true or false"),
        ({"quantize": {"mask": "riggl"}}, "no proposal is called 'riggl'"),
        ({"channels": {"share": 1.0}}, r"share is 1.0; expected a number in \(0, 1\)"),
        ({"channels": {"share": "half"}}, "share is 'half'"),
        ({"pattern": {"form": "4:2"}}, "form is '4:2'"),
        ({"pattern": {"form": 124}}, "Quote it"),
        ({"pattern": {}}, "form"),
    ],
)
def test_bad_requests_say_what_was_expected(tmp_path: Path, request_: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        begin(tmp_path / "run", **settings(request_))


def test_the_command_line_lists_the_proposals() -> None:
    shown = CliRunner().invoke(app, ["list", "proposals"]).output
    assert {"quantize", "channels", "pattern"} <= {
        line.split()[0] for line in shown.split("\n") if line.strip()
    }
