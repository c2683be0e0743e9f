"""Folders of images: their order, turning, colors, sizes, and files that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safecompress.config import DataConfig
from safecompress.data import image_source, load_source, load_splits
from safecompress.data.disk import is_mapped
from safecompress.errors import DataError

ORIENTATION = 0x0112


def _folder(path: Path, *, n: int = 6, size: tuple[int, int] = (8, 6)) -> Path:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for k in range(n):
            pixels = random.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(path / name / f"{k:02d}.png")
    return path


def _source(path: Path, **options: Any) -> Any:
    given = {"source": {"source": "images", "path": str(path), **options}}
    return DataConfig.model_validate(given).source


def _load(path: Path, **options: Any) -> Any:
    return load_source(_source(path, **options))


def test_images_come_in_the_order_of_classes_and_paths(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "d")
    (folder / "cat" / "deep").mkdir()
    nested = np.full((8, 6, 3), 7, np.uint8)
    Image.fromarray(nested).save(folder / "cat" / "deep" / "a.PNG")
    for name in (".DS_Store", "._00.png", "notes.txt", "Thumbs.db"):
        (folder / "cat" / name).write_bytes(b"no image")
    (folder / ".git").mkdir()
    (folder / "readme.md").write_text("no class")
    raw = _load(folder)
    assert raw.label_names == ("cat", "dog")
    assert raw.labels.tolist() == [0] * 7 + [1] * 6
    assert raw.columns.shape == (13, 8, 6, 3)
    assert np.array_equal(raw.columns[6], nested)
    for k in (0, 5):
        with Image.open(folder / "cat" / f"{k:02d}.png") as image:
            assert np.array_equal(raw.columns[k], np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(tmp_path: Path, orientation: int) -> None:
    folder = _folder(tmp_path / "d", n=2)
    upright = np.random.default_rng(1).integers(0, 256, (8, 6, 3), np.uint8)
    # How the sensor saw it: the inverse of what a viewer does for each value, by the EXIF standard.
    seen = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(seen))
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(folder / "cat" / "00.png", exif=exif)
    assert np.array_equal(_load(folder).columns[0], upright)


def test_colors_gray_alpha_palettes_and_sixteen_bits(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "d", n=1, size=(2, 2))
    kinds = {
        "gray": Image.new("L", (2, 2), 100),
        "alpha": Image.new("RGBA", (2, 2), (255, 0, 0, 0)),
        "half": Image.new("RGBA", (2, 2), (0, 0, 0, 51)),
        "gray alpha": Image.new("LA", (2, 2), (0, 0)),
        "sixteen": Image.fromarray(np.full((2, 2), 0x80FF, np.uint16)),
        "bit": Image.new("1", (2, 2), 1),
        "palette": Image.new("RGB", (2, 2), (10, 20, 30)).quantize(2),
    }
    for name, image in kinds.items():
        image.save(folder / "cat" / f"{name}.png")
    names = sorted(f"{name}.png" for name in ("00", *kinds))
    rows = _load(folder).columns[: len(names)]
    found = {name.removesuffix(".png"): row for name, row in zip(names, rows, strict=True)}
    pixel = {name: found[name][0, 0].tolist() for name in kinds}
    assert pixel["gray"] == [100] * 3
    assert pixel["alpha"] == [255] * 3
    assert pixel["half"] == [204] * 3
    assert pixel["gray alpha"] == [255] * 3
    assert pixel["sixteen"] == [0x80] * 3
    assert pixel["bit"] == [255] * 3
    assert pixel["palette"] == [10, 20, 30]
    assert _load(folder, color="gray").columns.shape[-1] == 1


def test_gray_images_have_one_channel_and_splits_take_them_for_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "d" / name).mkdir(parents=True)
        for k in range(20):
            pixels = random.integers(0, 256, (5, 4), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "d" / name / f"{k}.png")
    assert _load(tmp_path / "d").columns.shape == (40, 5, 4, 1)
    config = DataConfig(source=_source(tmp_path / "d"))
    splits = load_splits(config, seed=0, weights_given=False)
    assert splits.input_shape == (1, 5, 4)
    assert splits.digests() == load_splits(config, seed=0, weights_given=False).digests()


def test_images_of_several_sizes_need_a_size_and_keep_their_proportions(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "d", n=2, size=(8, 8))
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    Image.fromarray(wide).save(folder / "dog" / "wide.png")
    with pytest.raises(DataError, match=r"wide\.png: 8×24 pixels.*size: \[8, 8\]"):
        _load(folder)
    raw = _load(folder, size=8)
    assert raw.columns.shape == (5, 8, 8, 3)
    assert (raw.columns[4] == 200).all()
    assert _load(folder, size=[4, 6]).columns.shape == (5, 4, 6, 3)
    with pytest.raises(Exception, match="height, width"):
        _load(folder, size=[1, 2, 3])


@pytest.mark.parametrize("fault", ["cut", "noise", "empty", "gif"])
def test_a_broken_file_is_named(tmp_path: Path, fault: str) -> None:
    folder = _folder(tmp_path / "d", n=2, size=(40, 40))
    broken = folder / "dog" / "01.png"
    content = broken.read_bytes()
    if fault == "gif":
        Image.new("L", (40, 40)).save(broken, format="GIF")
    else:
        cases = {"cut": content[: len(content) // 2], "noise": b"\x07" * 99, "empty": b""}
        broken.write_bytes(cases[fault])
    with pytest.raises(DataError, match=r"dog.01\.png: not a readable JPEG or PNG"):
        _load(folder)


def test_folders_that_hold_no_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        _load(tmp_path / "none")
    (tmp_path / "flat").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "flat" / "a.png")
    with pytest.raises(DataError, match="no subfolders"):
        _load(tmp_path / "flat")
    folder = _folder(tmp_path / "d", n=1)
    (folder / "bird").mkdir()
    with pytest.raises(DataError, match="bird: no image"):
        _load(folder)


def test_a_test_folder_and_many_images_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = _folder(tmp_path / "a"), _folder(tmp_path / "b", n=3)
    known = _load(train, test_path=str(test))
    assert known.test_from == 12
    assert len(known) == 18
    monkeypatch.setattr(image_source, "_IN_MEMORY", 0)
    found = _load(train, test_path=str(test))
    assert is_mapped(found.columns)
    assert np.array_equal(found.columns, known.columns)
    (tmp_path / "c" / "cat").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "c" / "cat" / "a.png")
    with pytest.raises(DataError, match="the train part"):
        _load(train, test_path=str(tmp_path / "c"))
