"""A download arrives complete and verified, or leaves nothing and has a clear error."""

import hashlib
import http.server
import shutil
import socket
import threading
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from uniformer_mm.checkpoints import CheckpointError, download, locate, read_checkpoint
from uniformer_mm.checkpoints.facts import HASH_IN_NAME
from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.writing import locked

HUB_URL = "https://huggingface.co/Sense-X/uniformer/resolve/main/folder/weights.pth"


def files(folder):
    """Everything in a cache but locks."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


def refused(source, *facts):
    """Check that the error of a source is one line with some facts in it."""
    with pytest.raises(CheckpointError) as caught:
        locate(source)
    message = str(caught.value)
    assert message.isprintable()
    assert all(fact in message for fact in facts), message


def test_a_download_is_kept_and_needs_no_network_again(server, weights, cache):
    path = locate(f"{server}/weights.pth")
    assert path.read_bytes() == weights.read_bytes()
    assert path.stat().st_mode == weights.stat().st_mode, "others may read it too"
    weights.unlink()
    assert locate(f"{server}/weights.pth") == path
    assert files(cache) == [path]


def test_files_of_the_same_name_from_different_urls_are_kept_apart(server, weights, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.pth").write_bytes(b"another")
    first, second = locate(f"{server}/weights.pth"), locate(f"{server}/other/weights.pth")
    assert first != second
    assert second.read_bytes() == b"another"


@pytest.mark.parametrize(
    ("source", "revision"),
    [
        ("hf://Sense-X/uniformer/folder/weights.pth", "main"),
        ("hf://Sense-X/uniformer@v1/folder/weights.pth", "v1"),
        (HUB_URL, "main"),
        (f"{HUB_URL}?download=true".replace("resolve", "blob"), "main"),
    ],
)
def test_files_of_the_hub_are_in_the_cache_of_its_library(hub, weights, tmp_path, source, revision):
    target = hub / "Sense-X" / "uniformer" / "resolve" / revision / "folder" / "weights.pth"
    target.parent.mkdir(parents=True)
    shutil.copy(weights, target)
    assert read_checkpoint(source)["a"].tolist() == [0, 1, 2]
    assert (tmp_path / "hf_cache") in locate(source).parents


def test_errors_of_the_hub_name_the_source(hub, nobody, weights, monkeypatch):
    refused("hf://x/y", "hf://OWNER/REPOSITORY[@REVISION]/FILE", "hf://x/y")
    refused("hf://x/y/absent.pth", "hf://x/y/absent.pth", "404")
    folder = hub / "Sense-X" / "uniformer" / "resolve" / "main" / "folder"
    folder.mkdir(parents=True)
    shutil.copy(weights, folder)
    monkeypatch.setattr(download, "known_hash", lambda url: {HUB_URL: "0123"}[url])
    refused(HUB_URL, "SHA-256 mismatch", "0123", hashlib.sha256(weights.read_bytes()).hexdigest())


def test_without_the_hub_library_its_files_are_plain_downloads(weights, cache, monkeypatch):
    monkeypatch.setattr(download, "find_spec", lambda name: None)
    asked = []

    def copy(url, target, **_):
        asked.append(url)
        shutil.copy(weights, target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", copy)
    monkeypatch.setattr(download, "known_hash", lambda url: "")
    for source in (
        HUB_URL,
        HUB_URL.replace("https://huggingface.co/", "hf://").replace("/resolve/main", ""),
    ):
        assert cache in locate(source).parents
    assert asked == [HUB_URL]


def test_a_file_in_the_folder_of_torch_hub_is_taken_if_it_has_the_hash(nobody, weights, cache):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    cache.mkdir(parents=True)
    for name in (f"right-{digest[:8]}.pth", "wrong-01234567.pth", "unknown.pth"):
        shutil.copy(weights, cache / name)
    name = f"right-{digest[:8]}.pth"
    assert locate(f"{nobody}/{name}") == cache / name
    assert locate(f"https://huggingface.co/a/b/resolve/main/{name}") == cache / name
    for name in ("wrong-01234567.pth", "unknown.pth"):
        refused(f"{nobody}/{name}", name, "cannot be downloaded")


def test_a_name_of_the_zoo_is_its_file_or_says_that_there_is_none(server, weights, monkeypatch):
    model = list_models()[0]
    found = replace(model, name="found", weights=f"{server}/weights.pth")
    absent = replace(model, name="absent", weights=None)
    monkeypatch.setattr(download, "list_models", lambda: [found, absent])
    assert locate("found").name == "weights.pth"
    refused("absent", "absent", "no public direct download", absent.weights_page)
    refused("unknown", "unknown", "list_models()")
    refused("x" * 300, "xxx", "File name too long")


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("http://[::1/x.pth", "Invalid IPv6 URL"),
        ("http://host:99999/x.pth", "Port out of range"),
        ("http:///x.pth", "no host"),
        ("http://ho st/x.pth", "ho st"),
        ("https://host/%00", "a control character"),
        ("https://host/a%0ab.pth", "a control character"),
        (f"https://host/{'x' * 300}.pth", "names no file"),
        ("https://host/", "names no file"),
        ("https://host/x.pth?\x1b[31m", "a control character"),
    ],
)
def test_invalid_urls_are_named_in_one_line(url, fact, no_names):
    refused(url, fact, url[:12])


@pytest.fixture
def no_names(monkeypatch):
    """No host can be resolved."""

    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with something that is not a complete checkpoint, by the requested name."""

    timeout = 600  # of its own sockets, whatever the default of the process
    answers = {  # noqa: RUF012
        "cut": b"PK" + b"x" * 98,
        "safetensors": save({"a": torch.ones(100)})[:-9],
        "slow": b"PK" + b"x" * 98,
        "page": b"\n<!DOCTYPE html><html>log in first</html>",
    }

    def do_GET(self):
        name = self.path[1:].removesuffix(".pth")
        self.send_response(200)
        length = 1000 if name in ("cut", "slow") else len(self.answers[name])
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(self.answers[name])
        if name == "slow":  # never sends the rest
            self.wfile.flush()
            self.rfile.read(1)

    def log_message(self, *_):
        pass


@pytest.fixture
def bad_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("cut", "truncated"),
        ("safetensors", "truncated"),
        ("slow", "timed out"),
        ("page", "a web page"),
    ],
)
def test_an_incomplete_checkpoint_leaves_nothing(bad_server, cache, monkeypatch, name, fact):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    refused(f"{bad_server}/{name}.pth", f"/{name}.pth", fact)
    assert not files(cache)


def test_an_absent_file_and_no_network_leave_nothing(server, nobody, cache, request):
    refused(f"{server}/absent.pth", f"{server}/absent.pth", "404")
    refused(f"{nobody}/weights.pth", f"{nobody}/weights.pth", "Connection refused")
    request.getfixturevalue("no_names")
    refused("http://no.such.host.invalid/weights.pth", "no.such.host.invalid", "not known")
    assert not files(cache)


@pytest.mark.parametrize(
    ("error", "expected", "fact"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (OSError(28, "No space left on device"), CheckpointError, "No space left on device"),
        (PermissionError(13, "Permission denied"), CheckpointError, "Permission denied"),
    ],
)
def test_an_interrupt_and_a_full_disk_leave_nothing(
    server, weights, cache, monkeypatch, error, expected, fact
):
    def fail(*_):
        raise error

    monkeypatch.setattr(download, "diagnose", fail)
    with pytest.raises(expected, match=fact):
        locate(f"{server}/weights.pth")
    assert not files(cache)


def test_a_folder_that_cannot_be_written_is_named(server, weights, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    refused(f"{server}/weights.pth", str(tmp_path / "cache"), "Not a directory", "TORCH_HOME")


def test_a_process_waits_for_one_that_downloads_the_same_file(server, weights):
    path = locate(f"{server}/weights.pth")
    path.unlink()
    with ThreadPoolExecutor(1) as pool, (path.parent / ".lock").open("ab") as file:
        with locked(file) as alone:
            assert alone
            other = pool.submit(locate, f"{server}/weights.pth")
            with pytest.raises(futures.TimeoutError):
                other.result(0.2)
            path.write_bytes(b"of the first process")
        assert other.result(600) == path
    assert path.read_bytes() == b"of the first process"


@pytest.mark.parametrize("with_locks", [True, False])
def test_downloads_of_one_file_at_once_do_not_harm_each_other(
    server, weights, cache, monkeypatch, with_locks
):
    if not with_locks:
        monkeypatch.setattr("uniformer_mm.writing.fcntl", None)
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(locate, [f"{server}/weights.pth"] * 4))
    assert files(cache) == [paths[0]]
    assert paths[0].read_bytes() == weights.read_bytes()


def test_plain_http_without_a_hash_is_a_warning(server, weights, tmp_path, capsys):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    shutil.copy(weights, tmp_path / f"weights-{digest[:8]}.pth")
    locate(f"{server}/weights-{digest[:8]}.pth")
    assert "WARNING" not in capsys.readouterr().out
    locate(f"{server}/weights.pth")
    warning = capsys.readouterr().out
    assert "WARNING" in warning
    assert f"{server}/weights.pth" in warning


def test_the_hash_in_a_name_is_checked(server, weights, tmp_path, cache):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    good = [f"model-{digest[:8]}_20230724.pth", f"model_20221219-{digest[:8]}.pth"]
    # A date is not a hash, nor are eight characters that do not follow a hyphen.
    good += ["model-20230724.pth", "model_20230724.pth", "model_deadbeef.pth"]
    bad = "model_20221219-01234567.pth"
    for name in (*good, bad):
        shutil.copy(weights, tmp_path / name)
    for name in good:
        assert locate(f"{server}/{name}").name == name
    refused(f"{server}/{bad}", bad, "SHA-256 mismatch", "01234567", digest)
    assert sorted(path.name for path in files(cache)) == sorted(good)


@pytest.mark.parametrize(
    ("published", "fact"), [({"weights_sha256": "0" * 64}, "0" * 64), ({"weights_size": 7}, " 7")]
)
def test_published_size_and_hash_are_checked(server, weights, monkeypatch, cache, published, fact):
    model = replace(list_models()[0], **{"weights_sha256": None, "weights_size": None, **published})
    for module in ("download", "facts"):
        monkeypatch.setattr(f"uniformer_mm.checkpoints.{module}.published_file", lambda url: model)
    refused(f"{server}/weights.pth", f"{server}/weights.pth", fact)
    assert not files(cache)


def test_every_file_of_openmmlab_in_the_zoo_has_its_hash_in_its_name():
    urls = {model.weights for model in list_models() if "openmmlab" in (model.weights or "")}
    assert urls
    assert all(len(HASH_IN_NAME.search(url)[1]) == 8 for url in urls)
