"""Tiny local folders as `save_pretrained` writes them: a tokenizer of words, a BERT encoder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = [f"word{i}" for i in range(40)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNKNOWN, START, SEPARATOR, MASK = range(5)
LONGEST = 16


def word_tokenizer(
    words: Sequence[str] = WORDS, special: Sequence[str] = SPECIAL, *, types: bool = True
) -> Any:
    """Return a tokenizer whose tokens are words, numbered after the special ones.

    Args:
        words: the words.
        special: its special tokens.
        types: whether it says which of two texts a token belongs to.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
    )
    named = {"[UNK]": "unk_token", "[PAD]": "pad_token", "[CLS]": "cls_token"}
    named |= {"[SEP]": "sep_token", "[MASK]": "mask_token"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LONGEST,
        model_input_names=["input_ids", *["token_type_ids"] * types, "attention_mask"],
        **{named[token]: token for token in special},
    )


def encoder_folder(folder: Path, *, classes: int | None = None, seed: int = 0) -> Path:
    """Save a tiny BERT and its tokenizer: an encoder, or a classifier where `classes` are given."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LONGEST,
        pad_token_id=PAD,
        num_labels=classes or 2,
    )
    torch.manual_seed(seed)
    made = BertModel(config) if classes is None else BertForSequenceClassification(config)
    made.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def labeled_texts(n: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Return texts of 4 to 11 words, whose label is whether most of their words are early ones."""
    draw = np.random.default_rng(seed)
    rows = [draw.integers(0, len(WORDS), size=int(draw.integers(4, 12))) for _ in range(n)]
    texts = [" ".join(WORDS[i] for i in row) for row in rows]
    return texts, [int((row < len(WORDS) // 2).mean() > 0.5) for row in rows]


def written_csv(path: Path, columns: dict[str, Sequence[object]]) -> Path:
    """Write columns as a CSV."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path
