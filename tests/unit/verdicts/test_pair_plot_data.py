"""Pictures of crafted points: files that other software reads back to the same levels."""

from __future__ import annotations

import base64
import io

import pytest
import torch

from safecompress.verdicts.pair_plot_data import png


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 8, 6)])
def test_a_picture_is_read_back_level_by_level(shape):
    image = pytest.importorskip("PIL.Image")
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found = image.open(io.BytesIO(base64.b64decode(png(x))))
    channels, height, width = shape
    assert (found.width, found.height, len(found.getbands())) == (width, height, channels)
    wanted = (x * 255).round().to(torch.uint8).permute(1, 2, 0).flatten().tolist()
    assert list(found.tobytes()) == wanted
