"""`EmbeddingInputModel`, `Layout`: text as points, the embeddings of tokens with their integer ids.

The model is called with the row's tokens, and a hook replaces the output of its embedding layer by
the point. The effect is that of `inputs_embeds`, but it also works for models that have no such
argument, or that find padding or the last token by the token ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.models.adapt import call
from safecompress.protocols import Inputs, leading_size, map_inputs
from safecompress.train.predict import mode

TOKENS, MASK = "input_ids", "attention_mask"
"""Hugging Face's names of the token ids, and of the mask that is 1 where they are not padding."""
AT_ONCE = 32
"""Number of rows in a call of the model. A model that splits its batch embeds only a part of the
tokens at once, which the hook cannot match, and models of text often split at this size."""

_EXACT = 1 << 24
"""Integers below it are exact in float32."""


@dataclass(frozen=True)
class Layout:
    """The layout of a row of text in a point (length, width + number of integer inputs).

    Args:
        width: size of a token's embedding, which comes first at every position.
        names: the model's names of the integer inputs that follow; empty for a model that takes
            token ids as its only argument.
        unused: the padding token, used where the inputs have no mask; None where the model names
            none.
    """

    width: int
    names: tuple[str, ...]
    unused: int | None

    def inputs(self, points: Tensor) -> Inputs:
        """Return the integer inputs that points hold, int64 (n, length) each.

        Args:
            points: float (n, length, width + number of integer inputs).
        """
        ids = points[..., self.width :].detach().round().long().unbind(dim=-1)
        return dict(zip(self.names, ids, strict=True)) if self.names else ids[0]

    def moving(self, points: Tensor) -> Tensor:
        """Return which numbers of points may change: the embeddings of tokens other than padding.

        The result is bool, of the shape of the points.

        Args:
            points: float (n, length, width + number of integer inputs).
        """
        inputs = self.inputs(points)
        ids = tokens_of(inputs)
        if isinstance(inputs, Mapping) and MASK in inputs:
            used = inputs[MASK] != 0
        else:
            used = torch.ones_like(ids, dtype=torch.bool)
            if self.unused is not None:
                used = ids != self.unused
        embedding = torch.arange(points.shape[-1], device=points.device) < self.width
        return used[..., None] & embedding

    def points(self, inputs: Inputs, embedded: Tensor) -> Tensor:
        """Return points, float32 (n, length, width + number of integer inputs).

        Args:
            inputs: the integer inputs, (n, length) each.
            embedded: the embeddings of their tokens, float (n, length, width).
        """
        given = [inputs[name] for name in self.names] if isinstance(inputs, Mapping) else [inputs]
        ids = [t.to(embedded.device).float()[..., None] for t in given if isinstance(t, Tensor)]
        return torch.cat([embedded.float(), *ids], dim=-1)


class EmbeddingInputModel(nn.Module):
    """A model of text that takes points in place of tokens.

    Args:
        model: the wrapped model; shared, not copied.
        layer: its embedding layer, which it calls once with all tokens.
        layout: the layout of rows in points.
    """

    def __init__(self, model: nn.Module, layer: nn.Embedding, layout: Layout) -> None:
        super().__init__()
        self.model, self._layer, self.layout = model, [layer], layout

    @property
    def layer(self) -> nn.Embedding:
        """The embedding layer whose output is replaced."""
        return self._layer[0]

    def forward(self, points: Tensor) -> Tensor:
        """Return the logits, float (n, classes).

        Args:
            points: float (n, length, width + number of integer inputs).

        Raises:
            ModelError: when the model does not call its embedding layer with the rows' tokens.
        """
        return torch.cat([self._logits(piece) for piece in torch.split(points, AT_ONCE)])

    def _logits(self, points: Tensor) -> Tensor:
        inputs = self.layout.inputs(points)
        ids = tokens_of(inputs)
        embedded = points[..., : self.layout.width]
        # Attacks may not change padding, so its gradient is cut off.
        used = self.layout.moving(points)[..., : self.layout.width]
        embedded = torch.where(used, embedded, embedded.detach())
        replacements = 0

        def replaced(layer: Any, args: Any, named: Any, output: Tensor) -> Tensor | None:
            nonlocal replacements
            del layer
            argument = args[0] if args else named["input"]
            if not _same(argument, ids):
                return None
            replacements += 1
            return embedded.to(output)

        hook = self.layer.register_forward_hook(replaced, with_kwargs=True)
        try:
            logits = call(self.model, inputs)
        finally:
            hook.remove()
        if not replacements:
            raise ModelError(
                f"{type(self.model).__name__}: it no longer asks its embedding layer about the "
                f"tokens of {len(points)} rows at once; points cannot be put in their place."
            )
        return logits


def embedded_pair(
    full: nn.Module, small: nn.Module, inputs: Inputs
) -> tuple[EmbeddingInputModel, EmbeddingInputModel]:
    """Return both models of a pair wrapped to take points, which both share.

    Args:
        full: the attacked model.
        small: the model the attacker holds; both take the same tokens.
        inputs: some rows: int64 (n, length), or such tensors by name, `input_ids` among them.

    Raises:
        ModelError: when a model does not have exactly one embedding layer for the tokens, or the
            two layers differ in size.
    """
    sample = map_inputs(lambda t: t[:2], inputs)
    problems, layers = [], []
    for name, model in (("full", full), ("small", small)):
        try:
            layers.append(_layer_of(model, sample))
        except ModelError as error:
            problems.append(f"the {name} model {error}")
    sizes = [(layer.num_embeddings, layer.embedding_dim) for layer in layers]
    if not problems and len(set(sizes)) > 1:
        (words, width), (other_words, other_width) = sizes
        problems.append(
            f"the full model embeds {words} tokens in {width} numbers, the small one {other_words} "
            f"in {other_width}; one point cannot be given to both"
        )
    if not problems and sizes[0][0] > _EXACT:
        problems.append(f"{sizes[0][0]} tokens; at most {_EXACT} are told apart in float32")
    if problems:
        raise ModelError("; ".join(problems))
    names = tuple(inputs) if isinstance(inputs, Mapping) else ()
    layout = Layout(sizes[0][1], names, layers[0].padding_idx)
    return (
        EmbeddingInputModel(full, layers[0], layout),
        EmbeddingInputModel(small, layers[1], layout),
    )


def points_of(model: EmbeddingInputModel, inputs: Inputs) -> Tensor:
    """Return rows as points, embedded by a model's own table, float32 on the CPU.

    Args:
        model: the model whose embedding table is used.
        inputs: n rows of tokens.

    Returns:
        (n, length, width + number of integer inputs).
    """
    layer = model.layer
    with torch.no_grad(), mode(layer, training=False):
        parts = [
            model.layout.points(
                map_inputs(lambda t, at=at: t[at], inputs),  # type: ignore[misc]
                layer(tokens_of(inputs)[at].to(layer.weight.device)).cpu(),
            )
            for at in torch.split(torch.arange(leading_size(inputs)), AT_ONCE)
        ]
    return torch.cat(parts)


def token_length(model: EmbeddingInputModel) -> float:
    """Return the mean Euclidean length of the embeddings in a model's table.

    Args:
        model: the model whose embedding table is used.
    """
    layer = model.layer
    with torch.no_grad(), mode(layer, training=False):
        tokens = torch.arange(layer.num_embeddings, device=layer.weight.device)
        lengths = [layer(ids).double().norm(dim=-1) for ids in torch.split(tokens, 4096)]
    return float(torch.cat(lengths).mean())


def are_tokens(inputs: Inputs) -> bool:
    """Return whether inputs are tokens: one tensor of integers, or several with `input_ids`.

    Args:
        inputs: rows as a model takes them.
    """
    if isinstance(inputs, tuple):
        return False
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    if isinstance(inputs, Mapping) and TOKENS not in inputs:
        return False
    return all(t.ndim == 2 and t.dtype in {torch.int64, torch.int32} for t in given)


def tokens_of(inputs: Inputs) -> Tensor:
    """Return the token ids among inputs, (n, length).

    Args:
        inputs: rows for which `are_tokens` is True.

    Raises:
        ModelError: when the inputs are a tuple, whose parts have no names.
    """
    if isinstance(inputs, Tensor):
        return inputs
    if isinstance(inputs, tuple):
        raise ModelError("takes several inputs without names; which of them are tokens is unknown")
    return inputs[TOKENS]


def _layer_of(model: nn.Module, inputs: Inputs) -> nn.Embedding:
    """Return the one embedding layer that a model calls with the tokens.

    Raises:
        ModelError: when there is none, or more than one. The message begins with a verb, because
            the caller puts the model's name before it.
    """
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    inputs = map_inputs(lambda t: t.to(device), inputs)
    ids = tokens_of(inputs)
    called: list[nn.Embedding] = []

    def record(layer: Any, args: Any, named: Any) -> None:
        if _same(args[0] if args else named["input"], ids) and layer not in called:
            called.append(layer)

    layers = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    try:
        with mode(model, training=False), torch.no_grad():
            call(model, inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"fails on tokens that the other takes: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if len(called) != 1:
        raise ModelError(
            f"puts its tokens into {len(called) or 'no'} embedding layer{'s'[: len(called) != 1]} "
            "(torch.nn.Embedding), of which one is needed to put a point in its place"
        )
    return called[0]


def _same(value: Any, ids: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == ids.shape and bool((value == ids).all())
