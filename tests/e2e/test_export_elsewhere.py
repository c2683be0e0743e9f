"""Exported files where they are shipped to: an environment with onnxruntime alone, and a browser.

Both need packages that are not installed here; offline they are skipped, and say so.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from safecompress import compress, export
from tests.report_browser import chromium

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TRAIN: dict[str, Any] = {"epochs": 4, "lr": 0.05, "batch_size": 32, "precision": "32-true"}
SETTINGS: dict[str, Any] = {
    "data": {"source": {"source": "sklearn", "name": "digits"}},
    "model": {"name": "mlp", "options": {"hidden": [96, 48]}},
    "dense": TRAIN,
    "sparse": {"density": 0.15, "rounds": 1, "train": TRAIN},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    "engine": {"threads": 1},
}
FORMS = ("onnx-sparse", "onnx-sparse-int8")
WEB = "onnxruntime-web@1.22.0"
PARTS = ("ort.wasm.min.js", "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs")
DOCUMENT = Path(__file__).parents[2] / "docs" / "export.md"
SECONDS = 300
SAID = "document.querySelector('#said')"

ALONE = """
import importlib.util
import json
import sys

import numpy as np
import onnxruntime

found = [n for n in ("torch", "onnx", "safecompress", "sklearn") if importlib.util.find_spec(n)]
assert not found, found
session = onnxruntime.InferenceSession(sys.argv[1])
(logits,) = session.run(None, {"inputs": np.load(sys.argv[2])})
print(json.dumps(logits.tolist()))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Per format a file of one run."""
    folder = tmp_path_factory.mktemp("shipped")
    compress(config=SETTINGS, out=folder / "run")
    made = {form: folder / form / "digits.onnx" for form in FORMS}
    for form, path in made.items():
        assert export(folder / "run", path, format=form, allow_failed=True).path == path
    return made


def rows() -> NDArray[np.float64]:
    """Raw rows: what the page in the document asks about, and some more."""
    draw = np.random.default_rng(0)
    return np.concatenate([np.full((1, 64), 8.0), draw.integers(0, 17, (20, 64)).astype(float)])


def answers(path: Path, x: NDArray[np.float64]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"inputs": x})
    return np.asarray(logits)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose environment holds numpy and onnxruntime alone."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wanted = [f"onnxruntime=={onnxruntime.__version__}", f"numpy=={np.__version__}"]
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--retries", "1", "--timeout", "20", *wanted],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"onnxruntime cannot be installed here: {done.stderr.strip()[-200:]}")
    return python


def test_onnxruntime_alone_is_enough(alone: Path, files: dict[str, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", rows())
    for path in files.values():
        done = subprocess.run(
            [alone, "-I", "-c", ALONE, path, tmp_path / "rows.npy"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = np.array(json.loads(done.stdout), np.float32)
        np.testing.assert_array_equal(said, answers(path, rows()))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with onnxruntime-web; npm keeps what it has fetched."""
    folder = tmp_path_factory.mktemp("web")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("onnxruntime-web comes from npm, which is not installed")
    done = subprocess.run(
        [npm, "pack", WEB, "--silent", "--prefer-offline"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot fetch {WEB}: {done.stderr.strip()[-200:]}")
    packed = folder / done.stdout.split()[-1]
    with tarfile.open(packed) as archive:
        for part in PARTS:
            member = archive.extractfile(f"package/dist/{part}")
            assert member is not None
            (folder / part).write_bytes(member.read())
    packed.unlink()
    return folder


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine alone; gives its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def page_of_the_document() -> str:
    (page,) = re.findall(r"```html\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return str(page)


@pytest.mark.parametrize("form", FORMS)
def test_the_documents_page_runs_the_file_in_a_browser(
    form: str, files: dict[str, Path], web: Path, tmp_path: Path
) -> None:
    for part in PARTS:
        shutil.copy(web / part, tmp_path)
    shutil.copy(files[form], tmp_path / "digits.onnx")
    (tmp_path / "index.html").write_text(page_of_the_document(), encoding="utf-8")
    with (
        served(tmp_path) as address,
        chromium(tmp_path / "index.html") as browser,
        browser.open() as opened,
    ):
        # Opened as a file, the page may load nothing.
        opened.requests.clear()
        opened.page.goto(f"{address}/index.html")
        opened.page.wait_for_function(f"{SAID}.textContent", timeout=60_000)
        said = opened.page.locator("#said").inner_text()
        asked = {r for r in opened.requests if r.startswith("http")}
    assert asked
    assert all(request.startswith(address) for request in asked)
    logits = np.array(said.split(), np.float64)
    expected = answers(files[form], rows()[:1])[0]
    # Whole numbers are multiplied by other instructions, which may round a layer's input otherwise.
    close = 1e-4 if form == "onnx-sparse" else 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=close * np.abs(expected).max())
    assert logits.argmax() == expected.argmax()
