"""What trains: one process by itself, or Fabric; both in the same bits."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from lightning_fabric import Fabric

from safecompress.config import EngineConfig
from safecompress.topology import Topology
from safecompress.train import engine
from safecompress.train.engine import Alone, launched, trains_alone
from tests.unit.train.test_fit import CONFIGS, make, net

ON_A_CPU = EngineConfig(accelerator="cpu", devices=1)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_one_process_ends_in_the_bits_of_fabric(name, monkeypatch):
    ends = []
    for alone in (True, False):
        monkeypatch.setattr(engine, "_is_one_on_a_cpu", lambda _, alone=alone: alone)
        torch.manual_seed(0)
        trainer = make(config=CONFIGS[name], track_moving_average=True)
        ends.append(trainer.train(trainer.start(Topology.dense(net())), 9).tensors())
    left, right = ends
    assert left.keys() == right.keys()
    assert all(torch.equal(value, right[key]) for key, value in left.items())


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_NTASKS", "LT_ACCELERATOR"])
def test_a_process_that_a_launcher_started_is_fabrics(variable, monkeypatch):
    assert isinstance(launched(ON_A_CPU, precision="32-true"), Alone)
    monkeypatch.setattr(engine, "_fabric", lambda *_, **__: "Fabric's")
    monkeypatch.setenv(variable, "1")
    assert engine._processes(ON_A_CPU, precision="32-true") == "Fabric's"


def test_mixed_precision_is_fabrics():
    assert isinstance(launched(ON_A_CPU, precision="bf16-mixed"), Fabric)
    assert trains_alone(ON_A_CPU)


def test_training_alone_does_not_wait_for_fabric():
    code = (
        "import sys; from safecompress.config import EngineConfig;"
        "from safecompress.train.engine import launched;"
        "launched(EngineConfig(accelerator='cpu'), precision='32-true');"
        "import safecompress.compress; sys.exit('lightning_fabric' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
