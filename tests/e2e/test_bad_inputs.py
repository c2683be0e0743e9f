"""Bad inputs: one readable message, exit 2, nothing trained, nothing lost."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from safecompress.cli.app import main

N = 120


def good_arrays() -> dict[str, Any]:
    draw = np.random.default_rng(0)
    return {
        "x": draw.normal(size=(N, 6)).astype(np.float32),
        "y": draw.integers(0, 3, N),
    }


def settings() -> dict[str, Any]:
    return {
        "data": {"source": {"source": "npz", "path": "data.npz"}, "split": {"members": 60}},
        "model": {"name": "mlp", "options": {"hidden": [8]}},
        "dense": {"epochs": 1, "batch_size": 16},
        "sparse": {
            "density": 0.5,
            "rounds": 1,
            "settle_epochs": 0.5,
            "train": {"epochs": 1, "batch_size": 16},
        },
    }


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            config = config.setdefault(key, {})
        config[last] = value

    return change


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "data.npz", **good_arrays())
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """Run the command line, check that it ends as it must, and return its message."""
    before = {p for p in Path().rglob("*") if p.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["safecompress", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
    message = capsys.readouterr().err
    assert caught.value.code == code, message
    assert message.strip()
    assert "Traceback" not in message
    assert not Path("executed").exists()
    assert {p for p in Path().rglob("*") if p.is_file()} >= before
    assert not list(Path().rglob("*.safetensors.*")), "a temporary file was left behind"
    assert not list(Path().rglob("dense.safetensors")), "something was trained"
    return message


def compress(capsys: pytest.CaptureFixture[str], config: dict[str, Any], *more: str) -> str:
    Path("config.yaml").write_text(yaml.safe_dump(config))
    return refused(capsys, "compress", "config.yaml", "--out", "run", *more)


CONFIGURATIONS = [
    ("unknown section", put("modle", {}), "did you mean 'model'"),
    ("unknown key", put("sparse.densty", 0.1), "did you mean 'density'"),
    ("unknown nested key", put("sparse.train.epoch", 3), "did you mean 'epochs'"),
    ("density zero", put("sparse.density", 0), "greater than 0"),
    ("density above one", put("sparse.density", 2), "less than or equal to 1"),
    ("density text", put("sparse.density", "small"), "valid number"),
    ("density too small to keep a weight a layer", put("sparse.density", 0.001), "layer"),
    ("negative seed", put("seed", -1), "greater than or equal to 0"),
    ("seed text", put("seed", "today"), "valid integer"),
    ("unknown model", put("model.name", "resnet999"), "resnet"),
    ("unknown model option", put("model.options", {"hiden": [3]}), "did you mean 'hidden'"),
    ("bad model option", put("model.options", {"hidden": [-3]}), "hidden"),
    ("image model on a table", put("model.name", "alexnet"), "alexnet"),
    ("missing import", put("model.name", "no_such_module:make"), "no_such_module"),
    ("import without attribute", put("model.name", "math:nothing"), "nothing"),
    ("import of a non-model", put("model", {"name": "math:sqrt", "options": {}}), "math:sqrt"),
    ("missing weights", put("model.weights", "gone.safetensors"), "false PASS"),
    ("unknown proposal", put("steer.proposals", ["rigel"]), "did you mean 'rigl'"),
    ("proposal twice", put("steer.proposals", ["rigl", "rigl"]), "there already"),
    ("no proposal", put("steer.proposals", []), "empty"),
    ("unknown drop", put("steer.proposals", [{"update": {"drop": "magn", "grow": "random"}}]), "magnitude"),
    ("unknown grow", put("steer.proposals", [{"update": {"drop": "set", "grow": "gradeint"}}]), "gradient"),
    ("grow missing", put("steer.proposals", [{"update": {"drop": "set"}}]), "grow"),
    ("fraction above one", put("steer.proposals", [{"rigl": {"fraction": 1.5}}]), "fraction"),
    ("two names in one request", put("steer.proposals", [{"rigl": {}, "set": {}}]), "one name"),
    ("unknown attack", put("steer.attacks", ["los"]), "did you mean 'loss'"),
    ("attack twice", put("steer.attacks", ["loss", "loss"]), "listed twice"),
    ("no attack", put("steer.attacks", []), "empty"),
    ("unknown attack option", put("steer.attacks", [{"neural": {"epoch": 3}}]), "unknown option"),
    ("unknown objective", put("steer.objective", "pare"), "pareto"),
    ("unknown defense", put("steer.defenses", ["adverserial"]), "did you mean 'adversarial'"),
    ("defense without reference", put("steer.defenses", ["adversarial"]), "split.reference"),
    ("attack without its evidence", put("steer.attacks", ["lira-online"]), "needs references"),
    ("settle longer than a round", put("sparse.settle_epochs", 50), "longer than a round"),
    ("prune without a dense model", put("dense", {"epochs": 0}), "scratch"),
    ("milestones fall", put("sparse.train.milestones", [0.9, 0.1]), "milestones must rise"),
    ("augment a table", put("sparse.train.augment", "crop-flip"), "image"),
    ("infinite rate", put("sparse.train.lr", float("inf")), "finite"),
    ("two conditions", put("verdict.checks", [{"measure": "accuracy", "condition": {"at_most": 1, "at_least": 0}}]), "exactly one"),
    ("unknown relation", put("verdict.checks", [{"measure": "accuracy", "condition": {"below": 1}}]), "at_most"),
    ("unknown measure", put("verdict.checks", [{"measure": "acuracy", "condition": {"at_most": 1}}]), "accuracy"),
    ("unknown metric", put("verdict.checks", [{"measure": {"attack": {"attack": "loss", "metric": "acu"}}, "condition": {"at_most": 1}}]), "auc"),
    ("check twice", put("verdict.checks", [{"measure": "accuracy", "condition": {"at_most": 1}}] * 2), "two checks"),
    ("membership pair on one part", put("data.split.membership", "pair"), "one part"),
    ("index without a file", put("data.split.membership", "index"), "members_file"),
    ("more members than rows", put("data.split.members", 5000), "nonmembers 0"),
    ("nobody left to judge", put("data.split.members", N - 2), "member"),
    ("missing data file", put("data.source.path", "gone.npz"), "gone.npz"),
    ("data is a folder", put("data.source.path", "."), "directory"),
    ("missing key", put("data.source.x", "images"), "images"),
    ("unset variable", put("data.source.path", "${SURELY_NOT_SET}/x.npz"), "SURELY_NOT_SET"),
    ("unknown source", put("data.source", {"source": "excel", "path": "x"}), "no data source is called 'excel'; known: csv"),
    ("unknown sklearn set", put("data.source", {"source": "sklearn", "name": "digit"}), "digits"),
    ("sklearn set that downloads", put("data.source", {"source": "sklearn", "name": "fetch_openml"}), "fetch"),
    ("torch factory missing", put("data.source", {"source": "torch", "factory": "gone:make"}), "gone"),
    ("zero devices", put("engine.devices", 0), "greater than 0"),
    ("unknown accelerator", put("engine.accelerator", "tpu"), "cpu"),
    ("unknown baseline", put("baselines", ["snip"]), "magnitude"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "told"), CONFIGURATIONS, ids=[c[0] for c in CONFIGURATIONS]
)
def test_configurations(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: Callable[[dict[str, Any]], None],
    told: str,
) -> None:
    config = settings()
    change(config)
    message = compress(capsys, config)
    assert told in message, message
    assert not Path("run").exists()


def arrays(**changes: Any) -> Callable[[], None]:
    def write() -> None:
        np.savez(
            "data.npz", **{k: v for k, v in (good_arrays() | changes).items() if v is not None}
        )

    return write


def with_nan() -> np.ndarray[Any, Any]:
    x = good_arrays()["x"]
    x[3, 2] = np.nan
    return x  # type: ignore[no-any-return]


def pickled() -> None:
    np.savez("data.npz", x=np.array([Bomb()] * N, dtype=object), y=good_arrays()["y"])


def truncated() -> None:
    whole = Path("data.npz").read_bytes()
    Path("data.npz").write_bytes(whole[: len(whole) // 2])


def text(content: bytes) -> Callable[[], None]:
    return lambda: Path("data.npz").write_bytes(content) and None


def empty_zip() -> None:
    zipfile.ZipFile("data.npz", "w").close()


FILES = [
    ("x and y of different length", arrays(y=np.zeros(7, int)), "7"),
    ("one row", arrays(x=np.zeros((1, 6)), y=np.zeros(1, int)), "two classes"),
    ("no rows", arrays(x=np.zeros((0, 6)), y=np.zeros(0, int)), "row"),
    ("one class", arrays(y=np.zeros(N, int)), "class"),
    ("negative labels", arrays(y=np.arange(N) % 3 - 1), "negative labels"),
    ("fractional labels", arrays(y=np.linspace(0, 2, N)), "label"),
    ("two-dimensional labels", arrays(y=np.zeros((N, 2), int)), "label"),
    ("NaN in x", arrays(x=with_nan()), "NaN"),
    ("infinite x", arrays(x=np.full((N, 6), np.inf)), "inf"),
    ("complex x", arrays(x=np.zeros((N, 6), complex)), "complex"),
    ("text in x", arrays(x=np.full((N, 6), "a")), "x"),
    ("flat x", arrays(x=np.zeros(N)), "x"),
    ("no y", arrays(y=None), "y"),
    ("pickled array", pickled, "pickle"),
    ("truncated", truncated, "data.npz"),
    ("empty file", text(b""), "data.npz"),
    ("not a zip", text(b"hello"), "data.npz"),
    ("a pickle", text(pickle.dumps(Bomb())), "data.npz"),
    ("an empty zip", empty_zip, "data.npz"),
]


@pytest.mark.parametrize(("name", "write", "told"), FILES, ids=[f[0] for f in FILES])
def test_data_files(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    write: Callable[[], None],
    told: str,
) -> None:
    write()
    message = compress(capsys, settings())
    assert told in message, message
    assert not Path("run").exists()


CSV = [
    ("missing label column", "a,b,lable\n1,2,x\n" * 1, "did you mean 'lable'"),
    ("ragged", "a,label\n1,x\n2,y,3\n", "line 3"),
    ("header only", "a,label\n", "row"),
    ("empty", "", "data.csv"),
    ("empty label", "a,label\n" + "1,x\n2,y\n" * 20 + "3,\n", "label"),
    ("not UTF-8", b"a,label\n\xff\xfe,x\n", "UTF-8"),
    ("column twice", "a,a,label\n1,2,x\n", "more than once"),
]


@pytest.mark.parametrize(("name", "content", "told"), CSV, ids=[c[0] for c in CSV])
def test_csv_files(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | bytes, told: str
) -> None:
    Path("data.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    config = settings()
    config["data"]["source"] = {"source": "csv", "path": "data.csv"}
    message = compress(capsys, config)
    assert told in message, message
    assert not Path("run").exists()


def write_weights(tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, "weights.pt")


GOOD = {"layers.0.weight": torch.zeros(8, 6)}


@pytest.mark.parametrize(
    ("content", "membership", "told"),
    [
        ("mismatched", "unseen", "weights.pt"),
        ("pickle", "unseen", "refused"),
        ("garbage", "unseen", "weights.pt"),
        ("mismatched", None, "false PASS"),
        ("mismatched", "fresh", "false PASS"),
    ],
)
def test_weights(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    membership: str | None,
    told: str,
) -> None:
    if content == "pickle":
        Path("weights.pt").write_bytes(pickle.dumps(Bomb()))
    elif content == "garbage":
        Path("weights.pt").write_bytes(b"\x00" * 64)
    else:
        write_weights({"something.weight": torch.zeros(3)})
    config = settings()
    config["model"]["weights"] = "weights.pt"
    config["data"]["split"]["membership"] = membership
    message = compress(capsys, config)
    assert told in message, message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("0\n1\nninety\n", "ninety"),
        ("0\n1\n500\n", "500"),
        ("0\n1\n-3\n", "-3"),
        ("0\n1\n1\n", "1"),
        ("", "members.txt"),
        ("\n".join(map(str, range(N))), "non-member"),
    ],
)
def test_member_lists(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    Path("members.txt").write_text(content)
    config = settings()
    config["data"]["split"] = {"membership": "index", "members_file": "members.txt"}
    assert told in compress(capsys, config)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compress"], "give a configuration"),
        (["compress", "gone.yaml"], "gone.yaml"),
        (["compress", "data.npz"], "data.npz"),
        (["compress", "--resume", "gone"], "no run to resume"),
        (["compress", "config.yaml", "--resume", "gone"], "give a configuration"),
        (["compress", "--resume", "gone", "--seed", "3"], "drop the other options"),
        (["compress", "config.yaml", "--set", "seed"], "--set"),
        (["compress", "config.yaml", "--sed", "3"], "sed"),
        (["validate", "gone.yaml"], "gone.yaml"),
        (["report", "gone"], "gone"),
        (["init", "data.npz"], "exists already"),
        (["init", "data.npz/new.yaml"], "data.npz is a file"),
        (["list", "attack"], "attacks"),
        (["compres"], "compress"),
    ],
)
def test_command_lines(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    Path("config.yaml").write_text(yaml.safe_dump(settings()))
    assert told in refused(capsys, *arguments)


def test_out_folders_in_use_are_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    Path("run/thesis.tex").write_text("precious")
    assert "thesis.tex" in compress(capsys, settings())
    assert Path("run/thesis.tex").read_text() == "precious"
    assert [p.name for p in Path("run").iterdir()] == ["thesis.tex"]
