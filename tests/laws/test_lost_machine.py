"""A cluster that loses a machine in the middle of shadow training ends in the same bits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.processes import train_cohort
from safecompress.config import ShadowsConfig
from safecompress.events import Event
from safecompress.run.folder import STATE
from tests.laws.test_cohort_laws import CONFIG, digests, plan
from tests.support import count

pytestmark = pytest.mark.calibrate
LONGER: dict[str, Any] = {
    "dense": CONFIG["dense"] | {"epochs": 6},
    "sparse": CONFIG["sparse"] | {"train": CONFIG["sparse"]["train"] | {"epochs": 10}},
}
"""Long enough that a machine can be taken away while it trains."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines of one core each, whose raylets, stores and workers are own processes."""
    pytest.importorskip("ray", reason="needs the extra safecompress[ray]")
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path)
    # By default Ray's workers yield to whatever else runs, and a lost machine is missed late.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000}
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args=head | {"_system_config": soon})
    made.add_node(num_cpus=1, object_store_memory=80 << 20)
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def working(cohort: Cohort, models: int) -> list[int]:
    """Return the models that have a checkpoint and are not finished."""
    states = {n: cohort.folder / f"{n:04d}" / STATE for n in cohort.missing(models)}
    return [n for n, state in states.items() if state.is_dir() and any(state.iterdir())]


def test_a_machine_lost_in_the_middle_changes_no_bit(tmp_path: Path, cluster: Any) -> None:
    models = count(4, 8)
    away = Cohort.begin(tmp_path / "away", plan(**LONGER))
    here = Cohort.begin(tmp_path / "here", plan(**LONGER))
    lost: list[list[int]] = []
    machine = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)

    def lose() -> None:
        while not lost:
            begun = working(away, models)
            if len(begun) == 2:
                cluster.remove_node(machine, allow_graceful=False)
                lost.append(begun)
            time.sleep(0.05)

    told: list[Event] = []
    watcher = threading.Thread(target=lose, daemon=True)
    watcher.start()
    settings = ShadowsConfig(count=models, workers=2, backend="ray")
    train_cohort(away, models, settings, listen=told.append)
    assert lost, "the machine was to be lost while both trained"
    assert sum(event.kind == "progress" for event in told) == models
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train_cohort(here, models, ShadowsConfig(count=models, workers=1), listen=told.append)
    finally:
        torch.set_num_threads(before)
    assert digests(away.folder) == digests(here.folder)
    assert len(digests(away.folder)) == models
