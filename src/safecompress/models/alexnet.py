"""`AlexNet` for small images: five convolutions and one linear layer, 2.5 million weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from safecompress.models.registry import MODELS
from safecompress.models.shapes import (
    require_classes,
    require_dropout,
    require_image,
    require_positive,
    widened,
)


class AlexNet(nn.Module):
    """AlexNet as it is used on 32×32 images.

    The first convolution (11×11, stride 4) divides height and width by four, so this is the
    cheapest of the image families by far. Each feature map is reduced to its maximum before the
    classifier, so larger images work.

    Args:
        input_shape: (channels, height, width), sides of at least 16 pixels.
        classes: number of classes.
        width: multiplies every layer's channels; 1 gives 64-192-384-256-256.
        dropout: probability of dropping a feature before the classifier, in [0, 1).

    Raises:
        ModelError: on a bad shape, number of classes or option.

    References: Krizhevsky et al., NeurIPS 2012, section 3; here for small images. Starting weights
        after He et al., ICCV 2015, because there is no normalization between the layers: with
        PyTorch's own starting weights activations shrink from layer to layer, and the first dozen
        epochs do not improve the model.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        classes: int,
        width: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_classes("alexnet", classes)
        require_positive("alexnet", width=width)
        require_dropout("alexnet", dropout)
        channels = require_image("alexnet", input_shape, side=16)
        c1, c2, c3, c4, c5 = (widened(c, width) for c in (64, 192, 384, 256, 256))
        self.features = nn.Sequential(
            nn.Conv2d(channels, c1, 11, stride=4, padding=5),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(c1, c2, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(c2, c3, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c3, c4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c4, c5, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(c5, classes))
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (n, classes).

        Args:
            inputs: images, float (n, channels, height, width).
        """
        logits: Tensor = self.classifier(self.features(inputs))
        return logits


MODELS.add(
    "alexnet",
    AlexNet,
    summary="five convolutions for small images; the cheapest image family",
    reference="Krizhevsky et al., NeurIPS 2012",
    cost="2.5 M weights",
)
