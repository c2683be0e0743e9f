"""What a run, an audit and a comparison write into trackers, read back with their own clients."""

from __future__ import annotations

import csv
import json
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from safecompress import audit, compress
from safecompress.run.folder import read_history
from safecompress.tracking import following
from safecompress.tracking.results import finite
from tests.recorded_outputs import arrays, saved
from tests.tracker_stores import board_figures, wandb_figures

pytestmark = pytest.mark.filterwarnings("ignore")

TRAIN = {"epochs": 2, "precision": "32-true"}
CONFIG: dict[str, Any] = {
    "data": {"source": {"source": "sklearn", "name": "iris"}},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "dense": TRAIN,
    "sparse": {"density": 0.5, "rounds": 2, "train": TRAIN},
    "steer": {"proposals": ["rigl", "set"], "attacks": ["loss"]},
    "engine": {"threads": 1, "accelerator": "cpu"},
    "baselines": [],
}
SECRET = "hunter2-and-more"


class Counter:
    """A proxy that takes connections, answers nothing and counts them."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.count = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self.server.accept()
            except OSError:
                return
            self.count += 1
            taken.close()


def _refused(*arguments: object, **options: object) -> None:
    raise AssertionError(f"a connection was tried: {arguments}")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, list[str], int]:
    """A run that was written into every tracker, without a network and with secrets around it."""
    for package in ("tensorboard", "mlflow", "wandb"):
        pytest.importorskip(package)
    place = tmp_path_factory.mktemp("tracked")
    trackers = [
        "csv",
        "tensorboard",
        {"mlflow": {"uri": f"file://{place}/mlruns", "experiment": "iris"}},
        {"wandb": {"folder": str(place)}},
    ]
    proxy, notes = Counter(), []
    config = CONFIG | {"data": CONFIG["data"] | {"source": {"source": "sklearn", "name": "${SET}"}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("WANDB_API_KEY", SECRET)
        patch.setenv("SET", "iris")
        patch.setenv("WANDB_CACHE_DIR", str(place / "cache"))
        patch.setenv("WANDB_DATA_DIR", str(place / "data"))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
            patch.setenv(name, proxy.address)
        patch.setattr(socket, "getaddrinfo", _refused)
        # A busy machine may take minutes to import them.
        patch.setitem(following.PATIENCE, "finished", 400.0)
        done = compress(
            config=config,
            out=place / "run",
            trackers=trackers,
            on_event=lambda event: notes.append(event.text) if event.kind == "note" else None,
        )
    return done, place, notes, proxy.count


def _expected(done: Any) -> dict[str, float]:
    document = done.verdict.document
    spans = {f"verdict/{check.name}": check for check in document.checks if check.value is not None}
    ends = {"": "value", ".low": "low", ".high": "high"}
    found = {
        f"{n}{end}": getattr(s, field) for n, s in spans.items() for end, field in ends.items()
    }
    plain = finite(found)
    assert len(plain) == sum(v is not None for v in found.values()), "two figures of one name"
    return plain


def test_no_tracker_fails_and_none_reaches_for_the_network(run: Any) -> None:
    _, _, notes, connections = run
    assert [note for note in notes if "tracker" in note] == []
    assert connections == 0


def test_mlflow_has_curves_figures_settings_verdict_and_files(run: Any, monkeypatch) -> None:
    from mlflow.tracking import MlflowClient

    done, place, _, _ = run
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(tracking_uri=f"file://{place}/mlruns")
    (found,) = client.search_runs([client.get_experiment_by_name("iris").experiment_id])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    expected = _expected(done)
    assert len(expected) > 10
    assert {n: found.data.metrics[n] for n in expected} == pytest.approx(expected)
    assert found.data.params["sparse.density"] == "0.5"
    assert found.data.params["data.source.name"] == "${SET}"
    assert found.data.tags["safecompress.verdict"] == done.verdict.status
    assert found.data.tags["safecompress.sentence"] == done.verdict.sentence
    files = {f.path for f in client.list_artifacts(found.info.run_id)}
    assert {"verdict.json", "report.html", "config.yaml", "history.jsonl"} <= files
    local = client.download_artifacts(found.info.run_id, "verdict.json", str(place))
    assert json.loads(Path(local).read_text()) == done.verdict.document.to_json()
    losses = client.get_metric_history(found.info.run_id, "train/dense/loss")
    assert [point.step for point in losses] == sorted({point.step for point in losses})
    assert len(losses) == TRAIN["epochs"]


def test_tensorboard_has_curves_candidates_and_the_verdict(run: Any) -> None:
    done, _, _, _ = run
    curves, texts = board_figures(done.folder / "logs" / "tensorboard" / "version_0")
    for record in read_history(done.folder):
        if record["status"] == "discarded":
            continue
        place = f"candidate/p{record['candidate'].partition('p')[2]}"
        assert (record["step"], pytest.approx(record["accuracy"])) in curves[f"{place}/accuracy"]
        auc = record["measures"]["loss.auc"]
        assert (record["step"], pytest.approx(auc)) in curves[f"{place}/loss.auc"]
    assert len(curves["selected/accuracy"]) == CONFIG["sparse"]["rounds"]
    trained = [curve for n, curve in curves.items() if re.fullmatch(r"train/search/.*loss", n)]
    assert trained
    assert all([s for s, _ in curve] == sorted({s for s, _ in curve}) for curve in trained)
    assert texts["safecompress.verdict"] == done.verdict.status
    assert done.verdict.status in texts["safecompress.report"]
    for name, value in _expected(done).items():
        assert curves[name] == [(0, pytest.approx(value))]


def test_the_table_has_every_figure(run: Any) -> None:
    done, _, _, _ = run
    with (done.folder / "logs" / "csv" / "version_0" / "metrics.csv").open() as handle:
        lines = list(csv.DictReader(handle))
    for name, value in _expected(done).items():
        assert [float(line[name]) for line in lines if line[name]] == [pytest.approx(value)]


def test_wandb_has_curves_figures_settings_and_verdict_offline(run: Any) -> None:
    done, place, _, _ = run
    history, summary, config = wandb_figures(place)
    assert len(history["train/dense/loss"]) == TRAIN["epochs"]
    assert summary["safecompress.verdict"] == done.verdict.status
    expected = _expected(done)
    assert {name: summary[name] for name in expected} == pytest.approx(expected)
    assert config["sparse.density"] == "0.5"


def test_no_secret_is_in_any_file(run: Any) -> None:
    _, place, _, _ = run
    files = [path for path in place.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_curves_change_no_bit_of_a_run(run: Any, tmp_path: Path) -> None:
    done, _, _, _ = run
    plain = compress(config=CONFIG, out=tmp_path / "run")
    kept = ("dense.safetensors", "model.safetensors")
    assert all(
        (plain.folder / name).read_bytes() == (done.folder / name).read_bytes() for name in kept
    )


def test_an_audit_is_tracked_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    file = saved(tmp_path, arrays(60))
    found = audit(file, out=tmp_path / "audit", trackers=["tensorboard"])
    curves, texts = board_figures(tmp_path / "audit" / "logs" / "tensorboard" / "version_0")
    assert texts["safecompress.verdict"] == found.verdict.status
    assert texts["safecompress.kind"] == "audit"
    for name, value in _expected(found).items():
        assert curves[name] == [(0, pytest.approx(value))]


def test_the_settings_that_were_asked_for_are_stored_with_the_run(run: Any) -> None:
    done, _, _, _ = run
    stored = yaml.safe_load((done.folder / "config.yaml").read_text())["trackers"]
    assert stored[:2] == ["csv", "tensorboard"]
    assert stored[2]["mlflow"]["experiment"] == "iris"
    assert set(json.loads((done.folder / "trackers.json").read_text())) == {"mlflow", "wandb"}
