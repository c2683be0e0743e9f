"""`safecompress audit FOLDER` of a Hugging Face classifier: offline, safetensors only, no code."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from safecompress import audit
from safecompress.cli.app import app
from safecompress.errors import SafeCompressError, UsageError
from safecompress.targets import ask, open_target, rows_for
from tests.target_files import audited, edited, sentences, text_classifier

pytest.importorskip("transformers")
# Whatever another library warns of is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

MEMBERS = sentences(200, seed=0)
# Beside words, what makes a pattern like (a+)+b try all partitions of a text.
MEMBERS[0][0] = MEMBERS[0][0] + " " + "a" * 60
OTHERS = sentences(200, seed=1)
DATA = (MEMBERS, OTHERS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_classifier(tmp_path_factory.mktemp("trained") / "classifier")


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(trained, tmp_path / "classifier"))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        # The server that forks commands is asked through a file.
        if self.family is not socket.AF_UNIX:
            refuse(address)
        connect(self, address)

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"somebody wants the network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", local)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def table(path: Path, rows: tuple[list[str], list[Any]], **names: str) -> Path:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        writer.writerows(zip(*rows, strict=True))
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_a_folder_says_what_its_model_says(trained: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    target = open_target(trained)
    recorded = ask(target, rows_for(target, DATA, seed=0))
    model = AutoModelForSequenceClassification.from_pretrained(trained).eval()
    tokenizer = AutoTokenizer.from_pretrained(trained)
    with torch.no_grad():
        # One by one, so without any padding.
        alone = [model(**tokenizer(t, return_tensors="pt")).logits for t in MEMBERS[0][:40]]
    said = recorded.outputs.members.logits[:40]
    torch.testing.assert_close(said, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_a_text_is_cut_where_the_model_ends(trained: Path) -> None:
    target = open_target(trained)
    long = ([t * 30 for t in MEMBERS[0]], MEMBERS[1])
    rows = rows_for(target, (long, OTHERS), seed=0)
    assert isinstance(rows.members.inputs, dict)
    assert rows.members.inputs["input_ids"].shape == (200, 16)
    assert rows.nonmembers.inputs["input_ids"].shape == (200, 16), "both groups are padded alike"


def test_the_command_line_finds_the_leak(trained: Path, tmp_path: Path) -> None:
    a, b = table(tmp_path / "a.csv", MEMBERS), table(tmp_path / "b.csv", OTHERS)
    out = tmp_path / "out"
    result = run(trained, "--data", a, b, "--text", "text", "--out", out, "--max-auc", 0.99)
    assert result.exit_code in {0, 1, 3}, (result.output, result.exception)
    document = json.loads((out / "verdict.json").read_text())
    assert document["model"]["name"] == "classifier"
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["audited"]["kind"] == "hugging-face"
    assert "model.safetensors" in provenance["audited"]["sha256"]


def test_labels_are_found_by_their_names(folder: Path, tmp_path: Path) -> None:
    # In alphabetical order they would be the other way round.
    edited(folder / "config.json", id2label={"0": "odd", "1": "even"})
    names = {0: "odd", 1: "Even"}
    a, b = (
        table(tmp_path / f"{i}.csv", (texts, [names[y] for y in labels]))
        for i, (texts, labels) in enumerate(DATA)
    )
    source = {"source": "csv", "path": str(a), "test_path": str(b), "text": ("text",)}
    data = {"source": source, "split": {"membership": "pair"}}
    assert audit(folder, data).verdict.document.to_json()["model"]["accuracy"] > 0.8
    edited(folder / "config.json", id2label={"0": "cat", "1": "dog"})
    with pytest.raises(UsageError, match="is not among the classes of"):
        audit(folder, data)


def test_pairs_of_texts_go_in_as_pairs(trained: Path) -> None:
    target = open_target(trained)
    pair = ((MEMBERS[0], OTHERS[0]), MEMBERS[1])
    turned = ((OTHERS[0], MEMBERS[0]), OTHERS[1])
    rows = rows_for(target, (pair, turned), seed=0)
    assert isinstance(rows.members.inputs, dict)
    separators = (rows.members.inputs["input_ids"] == 3).sum(dim=1)
    assert separators.eq(2).all()


def test_a_vocabulary_that_knows_no_word_is_refused(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    words = vocabulary["model"]["vocab"]
    kept = {w: n for w, n in words.items() if w.startswith("[")}
    others = {f"nothing{n}": n for w, n in words.items() if w not in kept}
    vocabulary["model"]["vocab"] = kept | others
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    with pytest.raises(UsageError, match="Check the tokenizer"):
        audit(folder, DATA)


# -- folders that are broken, or mean harm --------------------------------------------------------


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "executed"))


def without(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def pickled(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Bomb(folder / "executed")))

    return change


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edited(folder / "config.json", **changes)


def written(name: str, text: str | bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return change


def code(name: str, key: str = "AutoModelForSequenceClassification") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "mine.py").write_text(f"open({str(folder / 'executed')!r}, 'w')")
        edited(folder / name, auto_map={key: "mine.Mine"})

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def index(place: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        document = {"metadata": {}, "weight_map": {WEIGHT: place}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(document))

    return change


def unpadded(folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)


def panicking(folder: Path) -> None:
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated"}
    edited(folder / "tokenizer.json", pre_tokenizer=pattern | {"invert": False})


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


HEAD, WEIGHT = "ForSequenceClassification", "classifier.weight"
HOSTILE: dict[str, Callable[[Path], None]] = {
    "no weights": without("model.safetensors"),
    "a pickle instead": pickled("pytorch_model.bin"),
    "a pickle of another name": pickled("model.pt"),
    "weights cut short": cut_weights,
    "weights of zeros": written("model.safetensors", bytes(4000)),
    "weights that claim petabytes": written("model.safetensors", b"\xff" * 7 + b"\x7f" + b"{}"),
    "empty weights": written("model.safetensors", b""),
    "no head": tensors(lambda t: [t.pop(WEIGHT), t.pop("classifier.bias")]),
    "a head of another shape": tensors(lambda t: t.update({WEIGHT: torch.ones(5, 32)})),
    "NaN": tensors(lambda t: t[WEIGHT].fill_(float("nan"))),
    "an index that leads outside": index("../model.safetensors"),
    "an index to an absolute path": index("/etc/passwd"),
    "an index to nothing": index("nothing.safetensors"),
    "a damaged index": written("model.safetensors.index.json", "{"),
    "an index of something else": written("model.safetensors.index.json", "[1]"),
    "no architecture": config(architectures=None),
    "a language model": config(architectures=["BertForMaskedLM"]),
    "an architecture nobody has": config(model_type="x", architectures=[f"X{HEAD}"]),
    "architectures as a number": config(architectures=3),
    "another model's configuration": config(model_type="gpt2"),
    "other sizes": config(hidden_size=64),
    "sizes of text": config(hidden_size="many"),
    "a regression": config(id2label={"0": "score"}),
    "code of its own": code("config.json"),
    "a tokenizer with code of its own": code("tokenizer_config.json", "AutoTokenizer"),
    "an adapter": written("adapter_config.json", '{"base_model_name_or_path": "someone/else"}'),
    "a configuration cut short": written("config.json", '{"architectures": ["Bert'),
    "a configuration that is a list": written("config.json", "[]"),
    "a configuration of bytes": written("config.json", b"\xff\xfe\x00"),
    "a deep configuration": written("config.json", "[" * 100_000),
    "no tokenizer": without("tokenizer.json", "tokenizer_config.json"),
    "a tokenizer cut short": written("tokenizer.json", "{"),
    "a tokenizer of something else": written("tokenizer.json", '{"version": "1.0"}'),
    "a tokenizer's configuration cut short": written("tokenizer_config.json", "{"),
    "no padding token": unpadded,
    "a billion layers": config(num_hidden_layers=10**9),
    "more layers than tensors": config(num_hidden_layers=1000),
    "a table of petabytes": config(max_position_embeddings=10**13),
    "kernels from elsewhere": config(attn_implementation="evil/kernel"),
    "hidden kernels from elsewhere": config(_attn_implementation_internal="evil/kernel"),
    "kernels deep inside": config(text_config={"attn_implementation": {"": "evil/kernel"}}),
    "quantized weights": config(quantization_config={"quant_method": "evil"}),
    "a tokenizer that panics": panicking,
}  # fmt: skip


@pytest.mark.parametrize("case", list(HOSTILE))
def test_a_folder_that_cannot_be_audited_ends_in_one_message(case: str, folder: Path) -> None:
    HOSTILE[case](folder)
    with pytest.raises(UsageError) as caught:
        audit(folder, DATA)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 700
    assert not (folder / "executed").exists()


@pytest.mark.parametrize(
    ("files", "more", "says"),
    [
        (("", "text,label\nword1,0\n"), [], "empty"),
        (("text,label\n", "text,label\nword1,0\n"), [], "no rows"),
        (("text,label\nword1 word2,0\n", "words,label\nword1,1\n"), [], "other columns"),
        (("text,label\nword1,\n", "text,label\nword1,1\n"), [], "is empty"),
        (
            ("text,label\nword1,0\n", "text,label\nword1,1\n"),
            ["--text", "words"],
            "no column 'words'",
        ),
        (("text,label\nword1,0\n", "text,label\nword1,1\n"), ["--label", "y"], "no label column"),
        (("number,label\n1,0\n", "number,label\n2,1\n"), [], "columns of text"),
        (("text,label\nword1 word2,0\n", "text,label\nword1 word2,1\n"), [], "have the inputs of"),
        (("text,label\nword1 word2,0\n", "text,label\nword3 word1,7\n"), [], "classes"),
    ],
)
def test_rows_that_do_not_fit_end_in_one_message(
    files: tuple[str, str], more: list[str], says: str, trained: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, content in zip(paths, files, strict=True):
        path.write_text(content)
    result = run(trained, "--data", *paths, *more, "--out", tmp_path / "out")
    assert isinstance(result.exception, SafeCompressError), result.output
    assert result.exception.exit_code == 2
    assert says in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "case", ["a pickle instead", "no head", "a head of another shape", "code of its own", "NaN"]
)
def test_a_hostile_folder_ends_the_command_in_one_line(
    case: str, folder: Path, tmp_path: Path
) -> None:
    HOSTILE[case](folder)
    a, b = table(tmp_path / "a.csv", MEMBERS), table(tmp_path / "b.csv", OTHERS)
    out = tmp_path / "out"
    status, _, complaint = audited(folder, "--data", a, b, "--text", "text", "--out", out)
    assert status == 2, complaint
    assert complaint.count("\n") == 1, complaint
    assert complaint.startswith("safecompress: ")
    assert not out.exists()
    assert not (folder / "executed").exists()


def test_json_is_all_that_a_program_reads(trained: Path, tmp_path: Path) -> None:
    a, b = table(tmp_path / "a.csv", MEMBERS), table(tmp_path / "b.csv", OTHERS)
    _, said, complaint = audited(
        trained, "--data", a, b, "--text", "text", "--json", "--out", tmp_path / "out"
    )
    assert [json.loads(line)["event"] for line in said.splitlines()][-1] == "verdict"
    assert complaint == ""


def rare_words(n: int, seed: int) -> tuple[list[str], list[int]]:
    """Return texts most of whose words are rare, as in any language."""
    draw = np.random.default_rng(seed)
    frequent = 1 / np.arange(1, 3001)
    words = draw.choice(3000, size=(n, 10), p=frequent / frequent.sum())
    return [" ".join(f"term{i}" for i in row) for row in words], [int(r[0]) % 2 for r in words]


def blind_control(verdict: Any) -> Any:
    return next(c for c in verdict.checks if c.name == "control: blind baseline")


def test_a_vocabulary_of_the_members_is_a_leak_of_the_model_and_no_difference_of_the_groups(
    tmp_path: Path,
) -> None:
    members, others = rare_words(500, seed=0), rare_words(500, seed=1)
    folder = text_classifier(tmp_path / "model", epochs=25, trained_on=members)
    a, b = table(tmp_path / "a.csv", members), table(tmp_path / "b.csv", others)
    source = {"source": "csv", "path": str(a), "test_path": str(b), "text": ("text",)}
    for data in ((members, others), {"source": source, "split": {"membership": "pair"}}):
        verdict = audit(folder, data).verdict
        assert blind_control(verdict).status == "PASS", blind_control(verdict).message
        assert verdict.status == "FAIL", verdict.sentence
    winter = ([f"{text} winter" for text in others[0]], others[1])
    verdict = audit(folder, (members, winter)).verdict
    assert blind_control(verdict).status == verdict.status == "ERROR"
