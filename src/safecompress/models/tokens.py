"""`TokenClassifier`: a text classifier of transformers as a module of one tensor of token ids."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.pretrained import remade

_NONE = -1
"""Stands for a token that there is none of; no id is negative."""


class TokenClassifier(nn.Module):
    """Tells padding by its id, so that a row is its token ids and nothing else.

    Which tokens belong to the second text of a pair follows from the separator; models without
    types of tokens are not told. `reset_parameters` draws all weights anew, as the model's class
    does.

    Args:
        model: a `…ForSequenceClassification` of transformers; used, not copied.
        pad: id of the padding token.
        separator: id of the token after each text; None where rows are single texts.
    """

    resets_inside = True
    """`reset_parameters` is for the modules inside, too, which know nothing of their scales."""
    not_in_files = ("pad", "separator")
    """Buffers that a file of a pretrained or fine-tuned model does not hold."""

    pad: Tensor
    separator: Tensor

    def __init__(self, model: nn.Module, *, pad: int, separator: int | None = None) -> None:
        super().__init__()
        self.model = model
        # Buffers are stored with the weights, so that a model that is loaded into the architecture
        # alone reads rows as the trained one did.
        self.register_buffer("pad", torch.tensor(pad))
        self.register_buffer("separator", torch.tensor(_NONE if separator is None else separator))
        config: Any = model.config
        self._typed = (getattr(config, "type_vocab_size", 0) or 0) > 1
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = pad

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (n, classes).

        Args:
            ids: token ids, int64 (n, length), filled up with `pad`.

        Raises:
            ModelError: when the rows are no token ids.
        """
        if ids.is_floating_point() or ids.ndim != 2:
            raise ModelError(
                f"the model takes token ids, whole numbers (n, length), and got "
                f"{str(ids.dtype).removeprefix('torch.')} {tuple(ids.shape)}; name a tokenizer "
                "(data.preprocessing.tokenizer), or give ids with preprocessing.features: none."
            )
        used: Tensor = ids.ne(self.pad)
        given = {"input_ids": ids, "attention_mask": used.long()}
        if self._typed:
            ends = ids.eq(self.separator).long()
            before = ends.cumsum(dim=1) - ends
            given["token_type_ids"] = ((before > 0) & used).long()
        logits: Tensor = self.model(**given).logits
        return logits

    def reset_parameters(self) -> None:
        """Draw all weights anew, as the model's class does."""
        fresh = remade(self.model)
        with torch.no_grad():
            for parameter, new in zip(self.model.parameters(), fresh.parameters(), strict=True):
                parameter.copy_(new)
            for buffer, other in zip(self.model.buffers(), fresh.buffers(), strict=True):
                buffer.copy_(other)


def read_like_(module: nn.Module, *, pad: int, separator: int | None) -> None:
    """Let a text classifier that was given as an object read rows as their tokenizer wrote them.

    Args:
        module: any module; others than a `TokenClassifier` stay as they are.
        pad: id of the padding token in the rows.
        separator: id of the token after each text of a pair; None where rows are single texts.

    Raises:
        ModelError: when it takes another token for padding.
    """
    if not isinstance(module, TokenClassifier):
        return
    if int(module.pad) != pad:
        raise ModelError(
            f"the model takes token {int(module.pad)} for padding, and the tokenizer fills rows up "
            f"with {pad}; name the tokenizer that the model was trained with, or correct "
            "model.config.pad_token_id."
        )
    if separator is not None:
        module.separator.fill_(separator)


def adapted(module: nn.Module) -> nn.Module:
    """Return a module as it is, or a text classifier of transformers as a module of token ids.

    Args:
        module: any module.

    Raises:
        ModelError: when a text classifier does not say which token is padding.
    """
    if not is_text_classifier(module):
        return module
    config: Any = module.config
    pad = getattr(config, "pad_token_id", None)
    if pad is None:
        raise ModelError(
            f"the model, a {type(module).__name__}, does not say which token is padding; set "
            "model.config.pad_token_id to the tokenizer's."
        )
    return TokenClassifier(module, pad=int(pad))


def is_text_classifier(module: nn.Module) -> bool:
    """Return whether a module is a `…ForSequenceClassification` of transformers.

    Args:
        module: any module; transformers is not imported for it.
    """
    own = any(
        kind.__name__ == "PreTrainedModel" and kind.__module__.startswith("transformers.")
        for kind in type(module).__mro__
    )
    return own and type(module).__name__.endswith("ForSequenceClassification")
