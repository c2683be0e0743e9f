"""Text classifiers compute what transformers computes, and start from what they say they do."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from safecompress.config import ModelConfig
from safecompress.errors import ConfigError, ModelError
from safecompress.models import build_model, fresh_weights, load_weights_
from safecompress.models.given import module_of
from safecompress.models.tokens import TokenClassifier, read_like_
from safecompress.pretrained import TextTokenizer, longest_text
from safecompress.topology import maskable_parameters
from tests.target_files import edited
from tests.text_folders import LONGEST, PAD, SEPARATOR, encoder_folder, labeled_texts

transformers = pytest.importorskip("transformers", reason="needs safecompress[transformers]")
CLASSES = 3


def built(folder, *, name="hugging_face", seed=0, length=12, **options):
    given = {"folder" if name == "hugging_face" else "tokenizer": str(folder)} | options
    config = ModelConfig(name=name, options=given)
    return build_model(config, input_shape=(length,), classes=CLASSES, seed=seed)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return encoder_folder(tmp_path_factory.mktemp("classifier"), classes=CLASSES)


def pairs():
    firsts, seconds = labeled_texts(9, seed=1)[0], labeled_texts(9, seed=2)[0]
    return [
        [" ".join(text.split()[:size]) for text, size in zip(texts, sizes, strict=True)]
        for texts, sizes in ((firsts, range(1, 7)), (seconds, [2, 5, 1, 4, 3, 6]))
        for texts in [texts[:6]]
    ]


@pytest.mark.parametrize("columns", [[labeled_texts(9)[0]], pairs()], ids=["texts", "pairs"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_ids_alone_give_what_the_tokenizers_masks_and_types_give(classifier, columns, attention):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(classifier)
    encoded = tokenizer(*columns, padding=True, return_tensors="pt")
    assert encoded["attention_mask"].min() == 0
    ours = built(classifier, start="nothing", attention=attention).eval()
    load_weights_(ours, classifier / "model.safetensors")
    ids = TextTokenizer(classifier).encode(columns, longest=LONGEST)
    with torch.no_grad():
        right = theirs(**encoded).logits
        assert torch.allclose(ours(torch.from_numpy(ids)), right, atol=1e-6)
        # Padding that the row did not need changes nothing.
        more = torch.nn.functional.pad(
            torch.from_numpy(ids), (0, LONGEST - ids.shape[1]), value=PAD
        )
        assert torch.allclose(ours(more), right, atol=1e-6)


KINDS = {
    "roberta": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "electra": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    "albert": {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_of_other_kinds_compute_what_transformers_computes(text_folder, tmp_path, kind):
    tokens = TextTokenizer(text_folder)
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=tokens.vocabulary,
        max_position_embeddings=20,
        pad_token_id=PAD,
        num_labels=CLASSES,
        **KINDS[kind],
    )
    torch.manual_seed(0)
    theirs = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = built(tmp_path, tokenizer=str(text_folder), start="nothing").eval()
    load_weights_(ours, tmp_path / "model.safetensors")
    given = module_of(theirs).eval()
    ids = torch.from_numpy(tokens.encode([labeled_texts(9)[0]], longest=LONGEST))
    with torch.no_grad():
        right = theirs(input_ids=ids, attention_mask=(ids != PAD).long()).logits
        for module in (ours, given):
            assert torch.allclose(module(ids), right, atol=1e-6)
    started = built(tmp_path, tokenizer=str(text_folder), start="encoder").model.base_model
    for name, tensor in theirs.base_model.state_dict().items():
        assert torch.equal(started.state_dict()[name], tensor), name


def test_an_object_reads_pairs_once_it_is_told_the_separator(classifier):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    made = module_of(theirs).eval()
    assert isinstance(made, TokenClassifier)
    ids = torch.from_numpy(TextTokenizer(classifier).encode(pairs(), longest=LONGEST))
    encoded = transformers.AutoTokenizer.from_pretrained(classifier)(
        *pairs(), padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        right = theirs(**encoded).logits
        assert not torch.allclose(made(ids), right, atol=1e-6)
        read_like_(made, pad=PAD, separator=SEPARATOR)
        assert torch.allclose(made(ids), right, atol=1e-6)
        other = module_of(lambda: transformers.BertForSequenceClassification(theirs.config))
        other.load_state_dict(made.state_dict())
        assert torch.equal(other.eval()(ids), made(ids))
    with pytest.raises(ModelError, match=r"takes token 0 for padding.*up with 7"):
        read_like_(made, pad=7, separator=None)


def test_another_module_stays_as_it_is():
    assert isinstance(module_of(torch.nn.Linear(2, 2)), torch.nn.Linear)


def test_before_training_it_is_the_encoder_with_a_head_of_the_seeds(text_folder):
    encoder = transformers.AutoModel.from_pretrained(text_folder).state_dict()
    one, again, other = (built(text_folder, seed=s).model for s in (0, 0, 1))
    for name, tensor in encoder.items():
        for made in (one, again, other):
            assert torch.equal(made.base_model.state_dict()[name], tensor), name
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_a_trained_classifier_is_refused_until_it_is_said_what_it_saw(classifier):
    with pytest.raises(ModelError, match=r"holds a trained classifier.*false PASS.*start"):
        built(classifier)
    stored = transformers.AutoModelForSequenceClassification.from_pretrained(classifier)
    kept, left = built(classifier, start="encoder").model, built(classifier, start="nothing").model
    words = "bert.embeddings.word_embeddings.weight"
    right = stored.state_dict()[words]
    assert torch.equal(kept.state_dict()[words], right)
    assert not torch.equal(left.state_dict()[words], right)
    assert not torch.equal(kept.classifier.weight, stored.classifier.weight)


def test_an_object_made_anew_is_drawn_as_its_class_draws(classifier):
    given = transformers.AutoModelForSequenceClassification.from_pretrained(classifier)
    module = module_of(given)
    one, again, other = (fresh_weights(module, seed=s) for s in (1, 1, 2))
    assert one.keys() == module.state_dict().keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, again[name]), name
        if name.endswith("dense.weight"):
            assert not torch.equal(tensor, module.state_dict()[name])
            assert not torch.equal(tensor, other[name])
            # torch's own draw for a linear layer of these sizes has a spread of .14.
            assert float(tensor.std()) == pytest.approx(0.02, rel=0.3)
    assert not one["model.bert.embeddings.word_embeddings.weight"][PAD].any()


def test_tables_of_places_stay_dense(text_folder):
    names = maskable_parameters(built(text_folder)).keys()
    assert "model.bert.embeddings.word_embeddings.weight" in names
    assert not [n for n in names if "position" in n or "token_type" in n or "Norm" in n]


def test_a_new_bert_has_the_sizes_that_were_asked_for(text_folder):
    module = built(text_folder, name="bert", layers=3, size=8, heads=2, width=1.5, length=9)
    config = module.model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 12, 2)
    assert (config.intermediate_size, config.max_position_embeddings) == (48, 9)
    assert config.vocab_size == TextTokenizer(text_folder).vocabulary
    small = built(text_folder, name="bert", dropout=0.3).model.config
    assert small.hidden_dropout_prob == small.attention_probs_dropout_prob == 0.3


def test_dropout_is_replaced_everywhere(text_folder):
    rates = {m.p for m in built(text_folder, dropout=0.25).modules() if hasattr(m, "p")}
    assert rates == {0.25}


@pytest.mark.parametrize(
    ("options", "length", "message"),
    [
        ({}, LONGEST + 1, "rows have 17 tokens and the model takes 16; set .*max_length: 16"),
        ({"start": "maybe"}, 12, "expected auto, encoder, nothing"),
        ({"attention": "flash"}, 12, "expected sdpa or eager"),
        ({"dropout": 1.0}, 12, "dropout"),
    ],
)
def test_bad_options_are_named(text_folder, options, length, message):
    with pytest.raises(ModelError, match=message):
        built(text_folder, length=length, **options)


@pytest.mark.parametrize("name", ["bert", "hugging_face"])
def test_other_rows_than_token_ids_are_refused(text_folder, name):
    config = ModelConfig(
        name=name, options={"folder" if name == "hugging_face" else "tokenizer": str(text_folder)}
    )
    with pytest.raises(ModelError, match="expected the token ids of a text"):
        build_model(config, input_shape=(3, 8, 8), classes=2, seed=0)
    with pytest.raises(ModelError, match=r"takes token ids.*float32"):
        built(text_folder, name=name)(torch.zeros(2, 12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "wants code of its own"),
        ({"quantization_config": {"bits": 8}}, "its weights are quantized"),
        ({"model_type": "no_such_kind"}, "its model_type 'no_such_kind' is none"),
        ({"vocab_size": 20}, r"45 tokens and the model knows 20|weights lack"),
        ({"num_hidden_layers": 2}, "its weights lack 16 of the encoder's tensors"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(text_folder, tmp_path, change, message):
    folder = shutil.copytree(text_folder, tmp_path / "copy")
    edited(folder / "config.json", **change)
    with pytest.raises(ModelError, match=message):
        built(folder)


def test_folders_are_found_from_another_folder(text_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(text_folder.parent)
    config = ModelConfig(name="hugging_face", options={"folder": text_folder.name})
    monkeypatch.chdir(tmp_path)
    assert build_model(config, input_shape=(12,), classes=2, seed=0)
    assert ModelConfig(name="mine:make", options={"folder": "a"}).options == {"folder": "a"}


def test_pickled_weights_are_refused(text_folder, tmp_path):
    folder = shutil.copytree(text_folder, tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, a pickle.*refused"):
        built(folder)


def test_weights_of_another_model_are_refused_by_name(classifier, text_folder):
    module = built(text_folder, name="bert")
    with pytest.raises(ModelError, match="do not fit the model"):
        load_weights_(module, classifier / "model.safetensors")


def test_without_transformers_the_extra_is_named(text_folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"safecompress\[transformers\]"):
        built(text_folder)


def test_settings_that_are_no_mapping_are_refused(text_folder, tmp_path):
    folder = shutil.copytree(text_folder, tmp_path / "copy")
    (folder / "config.json").write_text(json.dumps([1]))
    with pytest.raises(ModelError, match="expected a mapping of settings"):
        built(folder)


@pytest.mark.parametrize("said", [None, "long", {}, [512], float("nan"), float("inf"), -3, 0, 1e30])
def test_what_is_no_length_limits_no_text(said):
    tokenizer = SimpleNamespace(model_max_length=said)
    assert longest_text(tokenizer) == 512
    config = SimpleNamespace(max_position_embeddings=said, model_type="bert")
    assert longest_text(SimpleNamespace(model_max_length=77), config) == 77
