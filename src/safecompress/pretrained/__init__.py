"""Local Hugging Face folders: checked, and read by transformers without downloads or foreign code.

transformers is an extra, imported here and nowhere else, when a folder is read.
"""

from __future__ import annotations

from safecompress.pretrained.classifier import (
    Attention,
    Start,
    new_bert,
    pretrained_classifier,
    remade,
)
from safecompress.pretrained.folder import (
    CONFIG,
    INSTALL,
    check_tokenizer,
    checked_weights,
    classifier_names,
    quiet,
    read_config,
    transformers,
)
from safecompress.pretrained.tokenizer import TextTokenizer, longest_text

__all__ = [
    "CONFIG",
    "INSTALL",
    "Attention",
    "Start",
    "TextTokenizer",
    "check_tokenizer",
    "checked_weights",
    "classifier_names",
    "longest_text",
    "new_bert",
    "pretrained_classifier",
    "quiet",
    "read_config",
    "remade",
    "transformers",
]
