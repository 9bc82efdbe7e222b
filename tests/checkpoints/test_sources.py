"""Downloads arrive whole or leave nothing; every source has a clear error."""

import hashlib
import http.server
import threading
from dataclasses import replace

import pytest
import torch

from uniformer_mm.checkpoints import CheckpointError, locate, read_checkpoint, sources
from uniformer_mm.zoo import list_models


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def weights(tmp_path):
    """A checkpoint in the root of the test's web server."""
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(3)}, path)
    return path


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_download_is_kept_and_not_repeated(server, weights, cache):
    path = locate(f"{server}/weights.pth")
    assert path.read_bytes() == weights.read_bytes()
    weights.unlink()
    assert locate(f"{server}/weights.pth") == path
    assert files(cache) == [path]


def test_files_of_the_same_name_from_different_places_are_kept_apart(server, weights, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.pth").write_bytes(b"another")
    first, second = locate(f"{server}/weights.pth"), locate(f"{server}/other/weights.pth")
    assert first != second
    assert second.read_bytes() == b"another"


def test_the_hub_has_a_short_form(server, weights, tmp_path, monkeypatch):
    folder = tmp_path / "Sense-X" / "uniformer_image" / "resolve" / "main"
    folder.mkdir(parents=True)
    weights.rename(folder / "weights.pth")
    monkeypatch.setenv("HF_ENDPOINT", server)
    content = read_checkpoint("hf://Sense-X/uniformer_image/weights.pth")
    assert content["a"].tolist() == [0, 1, 2]
    with pytest.raises(CheckpointError, match="expected hf://OWNER/REPOSITORY/FILE, got hf://x/y"):
        locate("hf://x/y")


def test_a_name_of_the_zoo_is_its_file_or_says_that_there_is_none(server, weights, monkeypatch):
    model = list_models()[0]
    found = replace(model, name="found", weights=f"{server}/weights.pth")
    absent = replace(model, name="absent", weights=None)
    monkeypatch.setattr(sources, "list_models", lambda: [found, absent])
    assert locate("found").name == "weights.pth"
    with pytest.raises(CheckpointError, match="absent has no public direct download"):
        locate("absent")
    with pytest.raises(CheckpointError, match=r"no checkpoint at unknown.*name of a model of the"):
        locate("unknown")


class Handler(http.server.BaseHTTPRequestHandler):
    """Promises more bytes than it sends, or sends a web page."""

    def do_GET(self):
        self.send_response(200)
        page = self.path.endswith("page.pth")
        self.send_header("Content-Type", "text/html" if page else "application/octet-stream")
        self.send_header("Content-Length", "24" if page else "1000")
        self.end_headers()
        self.wfile.write(b"<html>log in first</html>" if page else b"PK" + b"x" * 98)

    def log_message(self, *_):
        pass


@pytest.fixture
def bad_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("cut.pth", r"cut\.pth (stopped after 100 of 1000 bytes|cannot be downloaded.*100)"),
        ("page.pth", r"page\.pth is a web page, not a file"),
    ],
)
def test_half_downloads_and_web_pages_leave_nothing(bad_server, cache, file, message):
    with pytest.raises(CheckpointError, match=message):
        locate(f"{bad_server}/{file}")
    assert not files(cache)


def test_an_absent_file_and_no_network_leave_nothing(server, cache):
    with pytest.raises(CheckpointError, match=r"absent\.pth cannot be downloaded: HTTP Error 404"):
        locate(f"{server}/absent.pth")
    with pytest.raises(CheckpointError, match="check the network"):
        locate("http://127.0.0.1:9/weights.pth")
    assert not files(cache)


def test_the_hash_in_a_name_is_checked(server, weights, tmp_path, cache):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    good, bad = f"model-{digest[:8]}_20230724.pth", "model_20221219-01234567.pth"
    for name in (good, bad):
        (tmp_path / name).write_bytes(weights.read_bytes())
    assert locate(f"{server}/{good}").name == good
    with pytest.raises(CheckpointError, match=f"has SHA-256 {digest}, expected 01234567"):
        locate(f"{server}/{bad}")
    assert [path.name for path in files(cache)] == [good]


def test_a_known_hash_is_checked(server, weights, monkeypatch, cache):
    url = f"{server}/weights.pth"
    monkeypatch.setitem(sources.HASHES, url, "0" * 64)
    with pytest.raises(CheckpointError, match="damaged or exchanged"):
        locate(url)
    assert not files(cache)
