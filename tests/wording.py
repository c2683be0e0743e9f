"""Small models of tokens, and rows of different lengths, for tests of points in embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WORDS, WIDTH, LENGTH, CLASSES = 20, 4, 7, 3


class Sentences(nn.Module):
    """Mean of the words' vectors through two layers without matrix products: the same bits in any
    batch.

    Args:
        seed: of its weights.
        words, width: of its table.
        reads: whether it reads padding off the tokens, without a mask.
    """

    def __init__(
        self, *, seed: int, words: int = WORDS, width: int = WIDTH, reads: bool = False
    ) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(words, width, padding_idx=0)
        self.places = nn.Embedding(LENGTH, width)
        with torch.no_grad():
            for layer in (self.table, self.places):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw))
            self.places.weight.mul_(0.1)
        self.first = nn.Parameter(0.8 * torch.randn(8, width, generator=draw))
        self.last = nn.Parameter(torch.randn(CLASSES, 8, generator=draw))
        self.reads = reads

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        used = input_ids != 0 if attention_mask is None else attention_mask != 0
        where = self.places(torch.arange(input_ids.shape[1])[None])
        vectors = self.table(input_ids) + where
        mean = (vectors * used[..., None]).sum(dim=1) / used.sum(dim=1, keepdim=True)
        inside = torch.tanh((mean[:, None] * self.first).sum(dim=2))
        return (inside[:, None] * self.last).sum(dim=2)


def texts(n: int, *, seed: int = 0, words: int = WORDS) -> dict[str, Tensor]:
    """Return tokens and their mask, rows of 3 to 7 words; some are padded on the left."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, words, (n, LENGTH), generator=draw)
    lengths = torch.randint(3, LENGTH + 1, (n, 1), generator=draw)
    mask = (torch.arange(LENGTH) < lengths).long()
    mask[::3] = mask[::3].flip(1)
    return {"input_ids": ids * mask, "attention_mask": mask}
