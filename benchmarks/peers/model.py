"""What a peer loads by file or by pickle: the network that every side trains, and the rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """446 features, two hidden layers, 30 classes; the names of its weights are our MLP's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(446, 512),
            nn.ReLU(),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.Linear(256, 30),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (n, 30) of inputs (n, 446)."""
        logits: Tensor = self.layers(inputs)
        return logits


class Table:
    """Rows in memory.

    Args:
        data: float32 (n, 446), as NumPy holds it.
        targets: int64 (n,).
    """

    def __init__(self, data: Any, targets: Any) -> None:
        self.data, self.targets = torch.as_tensor(data), torch.as_tensor(targets)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one row and its class."""
        return self.data[index], self.targets[index]
