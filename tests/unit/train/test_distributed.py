"""Two processes train the same candidate as one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tests.support import calibrating

SCRIPT = """
import sys
import torch
from torch import nn
from safecompress.config import EngineConfig, TrainConfig
from safecompress.files import tensors_digest, write_tensors
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import Trainer
from pathlib import Path

torch.manual_seed(0)
devices, folder = int(sys.argv[1]), Path(sys.argv[2])
g = torch.Generator().manual_seed(1)
module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
rows = Rows(
    torch.randn(40, 6, generator=g), torch.randint(3, (40,), generator=g), torch.arange(40)
)
trainer = Trainer(
    module,
    rows,
    TrainConfig(epochs=4, batch_size=8, precision="32-true"),
    seed=0,
    engine=EngineConfig(accelerator="cpu", devices=devices),
    track_moving_average=True,
)
dense = Topology.dense(module).masks
masks = {k: torch.rand(m.shape, generator=g) < 0.5 for k, m in dense.items()}
start = trainer.start(Topology(masks))
whole, cut = trainer.train(start, 9), trainer.train(trainer.train(start, 4), 5)
gradient = trainer.gradient(whole, 2)
assert tensors_digest(whole.tensors()) == tensors_digest(cut.tensors())
tensors = whole.tensors() | {f"gradient/{k}": v for k, v in gradient.items()}
write_tensors(folder / f"{devices}-{trainer._rank}.safetensors", tensors)
"""


@pytest.mark.calibrate
@pytest.mark.skipif(not calibrating(), reason="starts processes; runs with full counts")
def test_two_processes_train_the_same_candidate_as_one(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for devices, launcher in ((1, []), (2, torchrun)):
        command = [sys.executable, *launcher, "script.py", str(devices), str(tmp_path)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    from safecompress.files import read_tensors

    one, first, second = (
        read_tensors(tmp_path / f"{name}.safetensors") for name in ("1-0", "2-0", "2-1")
    )
    assert first.keys() == second.keys() == one.keys()
    for key, value in one.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], value, rtol=1e-5, atol=1e-6)
