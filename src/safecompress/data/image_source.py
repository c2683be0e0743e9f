"""`ImageRows`: JPEG and PNG files in one folder for each class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from safecompress.config import ImagesSource
from safecompress.data.disk import Array, ScratchFile
from safecompress.data.raw import RawData, raw_from_arrays
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import DataError, brief

if TYPE_CHECKING:
    from PIL.Image import Image

_ENDINGS = frozenset({".jpg", ".jpeg", ".png"})
_GRAY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"})
_IN_MEMORY = 256 << 20
"""Bytes of decoded images beyond which they are kept in a scratch file."""


class ImageRows(ImagesSource, DataSource):
    """Rows of folders of images."""

    source: Literal["images"] = "images"

    def load(self, *, seed: int | None) -> RawData:
        """Decode every image once.

        Args:
            seed: not used, because the rows of a folder are fixed.

        Raises:
            DataError: when a folder holds no classes, a file is no image or images differ in size;
                the message names it.
        """
        del seed
        parts = [_files(p) for p in (self.path, self.test_path) if p is not None]
        gray = self.color == "gray" or (
            self.color == "auto" and all(_is_gray(path) for part in parts for path, _ in part)
        )
        side = self.size
        size = (side, side) if isinstance(side, int) else side
        decoded = []
        for part in parts:
            pixels = _decoded([path for path, _ in part], gray=gray, size=size)
            decoded.append((pixels, np.array([label for _, label in part])))
        test = decoded[1] if len(decoded) > 1 else None
        return raw_from_arrays(*decoded[0], test=test, where=str(self.path))


SOURCES.add("images", ImageRows, summary="JPEG and PNG files in one folder for each class")


def _files(folder: Path) -> list[tuple[Path, str]]:
    """Return the images of all classes with the names of these, in an order that never changes."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}.")
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(f"{folder}: no subfolders; expected one for each class, named by it.")
    found = []
    for each in classes:
        images = sorted(_images(each), key=lambda path: path.relative_to(each).parts)
        if not images:
            raise DataError(
                f"{each}: no image in it (.jpg, .jpeg or .png); remove the folder, or put the "
                "images of its class there."
            )
        found += [(path, each.name) for path in images]
    return found


def _images(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in _ENDINGS:
                yield Path(place) / name


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open an image; whatever is wrong with its file becomes a DataError that names it."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # An image that decodes to gigabytes is a warning of Pillow's up to twice its limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                yield image
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: not a readable JPEG or PNG ({brief(error)}).") from error


def _is_gray(path: Path) -> bool:
    with _opened(path) as image:
        return image.mode in _GRAY_MODES


def _decoded(paths: list[Path], *, gray: bool, size: tuple[int, ...] | None) -> Array:
    """Return all images, uint8 (n, height, width, 1 or 3); on disk where they are many."""
    first = _pixels(paths[0], gray=gray, size=size)
    if len(paths) * first.nbytes <= _IN_MEMORY:
        out = np.empty((len(paths), *first.shape), dtype=np.uint8)
        for place, pixels in enumerate(_alike(paths, first, gray=gray, size=size)):
            out[place] = pixels
        return out
    with ScratchFile(len(paths), first.shape, first.dtype) as file:
        for pixels in _alike(paths, first, gray=gray, size=size):
            file.write(pixels)
        return file.array()


def _alike(
    paths: list[Path], first: Array, *, gray: bool, size: tuple[int, ...] | None
) -> Iterator[Array]:
    for path in paths:
        pixels = _pixels(path, gray=gray, size=size)
        if pixels.shape != first.shape:
            (h, w), (a, b) = pixels.shape[:2], first.shape[:2]
            raise DataError(
                f"{path}: {h}×{w} pixels, but {paths[0]} has {a}×{b}; set the source's size, such "
                f"as size: [{min(h, a)}, {min(w, b)}]."
            )
        yield pixels


def _pixels(path: Path, *, gray: bool, size: tuple[int, ...] | None) -> NDArray[np.uint8]:
    """Return one image, uint8 (height, width, 1 or 3)."""
    from PIL import Image, ImageOps

    with _opened(path) as opened:
        image: Any = _eight_bits(ImageOps.exif_transpose(opened))
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        image = image.convert("L" if gray else "RGB")
        if size is not None and image.size != (size[1], size[0]):
            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1)


def _eight_bits(image: Any) -> Any:
    """Return an image with 8 bits a channel; Pillow would cut 16 bits of gray off at 255."""
    from PIL import Image

    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
