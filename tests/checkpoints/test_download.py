"""Downloads arrive whole or leave nothing; every source has a clear error."""

import hashlib
import http.server
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from uniformer_mm.checkpoints import CheckpointError, locate, read_checkpoint
from uniformer_mm.checkpoints import download as sources
from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.writing import locked


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
    """All but the files that are locked while something is downloaded."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != sources.LOCK]


def refused(source, message):
    """The error of a source is one line with what is expected in it."""
    with pytest.raises(CheckpointError, match=message) as caught:
        locate(source)
    assert "\n" not in str(caught.value)


def test_a_download_is_kept_and_needs_no_network_again(server, weights, cache):
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


def test_the_hub_has_a_short_form_and_mirrors(server, nobody, weights, tmp_path, monkeypatch):
    folder = tmp_path / "Sense-X" / "uniformer_image" / "resolve" / "main" / "folder"
    folder.mkdir(parents=True)
    weights.rename(folder / "weights.pth")
    monkeypatch.setenv("HF_ENDPOINT", f"{server}/")
    content = read_checkpoint("hf://Sense-X/uniformer_image/folder/weights.pth")
    assert content["a"].tolist() == [0, 1, 2]
    # It is the same file by its address, with the mirror or without.
    monkeypatch.setenv("HF_ENDPOINT", nobody)
    address = "https://huggingface.co/Sense-X/uniformer_image/resolve/main/folder/weights.pth"
    assert locate(address) == locate("hf://Sense-X/uniformer_image/folder/weights.pth")
    refused("hf://x/y", "expected hf://OWNER/REPOSITORY/FILE, got hf://x/y")


def test_a_name_of_the_zoo_is_its_file_or_says_that_there_is_none(server, weights, monkeypatch):
    model = list_models()[0]
    found = replace(model, name="found", weights=f"{server}/weights.pth")
    absent = replace(model, name="absent", weights=None)
    monkeypatch.setattr(sources, "list_models", lambda: [found, absent])
    assert locate("found").name == "weights.pth"
    refused("absent", "absent has no public direct download")
    refused("unknown", r"no checkpoint at unknown.*name of a model of the zoo")
    refused("https://example.com/", "names no file")
    refused("x" * 300, "cannot look for x+: File name too long")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://[::1/x.pth", "is not an address: Invalid IPv6 URL"),
        ("http://host:99999/x.pth", "is not an address: Port out of range"),
        ("http:///x.pth", "is not an address: no host"),
        ("http://ho st/x.pth", "not an address|cannot be downloaded"),
        ("https://host/%00", "names no file"),
        ("https://host/a%0ab.pth", "names no file"),
        (f"https://host/{'x' * 300}.pth", "names no file"),
        ("https://host/", "names no file"),
        ("https://host/x.pth?\x1b[31m", "not an address: a control character"),
    ],
)
def test_bad_addresses_are_named_in_one_line(url, message, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    refused(url, message)


def unknown_host(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what is no whole checkpoint, by the name that is asked for."""

    answers = {  # noqa: RUF012
        "cut": b"PK" + b"x" * 98,
        "slow": b"PK" + b"x" * 98,
        "unmeasured": b"PK\x03\x04" + b"x" * 98,
        "page": b"\n<!DOCTYPE html><html>log in first</html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "empty": b"",
    }

    def do_GET(self):
        name = self.path[1:].removesuffix(".pth")
        self.send_response(200)
        if name != "unmeasured":
            length = 1000 if name in ("cut", "slow") else len(self.answers[name])
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(self.answers[name])
        if name == "slow":  # as long as anybody waits for the rest
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
    ("file", "message"),
    [
        ("cut", r"cut\.pth stopped after 100 of 1000 bytes: run it again"),
        ("slow", r"slow\.pth cannot be downloaded \(.*timed out\): check the network"),
        ("unmeasured", r"unmeasured\.pth gave no checkpoint: it is truncated"),
        ("page", r"page\.pth gave no checkpoint: it is a web page"),
        ("pointer", r"pointer\.pth gave no checkpoint: it is a Git LFS pointer"),
        ("empty", r"empty\.pth gave no checkpoint: it is empty"),
    ],
)
def test_what_is_no_whole_checkpoint_leaves_nothing(bad_server, cache, monkeypatch, file, message):
    if file == "slow":
        monkeypatch.setattr(sources, "TIMEOUT", 0.2)
    refused(f"{bad_server}/{file}.pth", message)
    assert not files(cache)


def test_an_absent_file_and_no_network_leave_nothing(server, nobody, cache, monkeypatch):
    refused(f"{server}/absent.pth", r"absent\.pth cannot be downloaded: HTTP Error 404.*address")
    refused(f"{nobody}/weights.pth", "Connection refused.*check the network")
    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    refused("http://no.such.host.invalid/weights.pth", "not known.*check the network")
    assert not files(cache)


def test_an_interrupted_download_leaves_nothing(server, weights, cache, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "what_is_wrong", interrupt)
    with pytest.raises(KeyboardInterrupt):
        locate(f"{server}/weights.pth")
    assert not files(cache)


class CutHandler(http.server.BaseHTTPRequestHandler):
    """Sends parts of a file, and goes on in the middle of it."""

    content = b""
    version = '"one"'
    longest = 10**6
    ranges = True
    asked: ClassVar[list] = []

    def do_GET(self):
        range_ = self.headers.get("Range") if self.ranges else None
        self.asked.append(range_)
        start = int(range_.removeprefix("bytes=").rstrip("-")) if range_ else 0
        self.send_response(206 if range_ else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.send_header("ETag", self.version)
        self.send_header("Accept-Ranges", "bytes")
        if range_:
            last = len(self.content)
            self.send_header("Content-Range", f"bytes {start}-{last - 1}/{last}")
        self.end_headers()
        self.wfile.write(self.content[start : start + self.longest])

    def log_message(self, *_):
        pass


@pytest.fixture
def cutting(weights):
    """The handler of a server that has the weights, and the URL."""
    handler = type("Handler", (CutHandler,), {"content": weights.read_bytes(), "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield handler, f"http://127.0.0.1:{running.server_port}/weights.pth"
        running.shutdown()


def test_a_connection_that_breaks_is_taken_up_where_it_broke(cutting):
    handler, url = cutting
    handler.longest = 500
    assert locate(url).read_bytes() == handler.content
    starts = range(500, len(handler.content), 500)
    assert handler.asked == [None, *(f"bytes={start}-" for start in starts)]


def test_a_download_that_stopped_goes_on_the_next_time(cutting, cache):
    handler, url = cutting
    send = handler.do_GET
    handler.longest = 500
    handler.do_GET = lambda self: send(self) if len(self.asked) < 2 else self.asked.append("no")
    refused(url, r"stopped after 1000 of \d+ bytes.*: run it again, it goes on from there")
    (left,) = files(cache)
    assert left.read_bytes() == handler.content[:1000]
    handler.do_GET = send
    handler.longest = 10**6
    path = locate(url)
    assert path.read_bytes() == handler.content
    assert handler.asked[-2:] == [None, "bytes=1000-"]
    assert files(cache) == [path]


@pytest.mark.parametrize("change", ["version", "ranges"])
def test_it_begins_again_where_that_is_the_only_way(cutting, cache, change):
    """The file is another one now, or the server does not go on as it has said."""
    handler, url = cutting
    send = handler.do_GET
    handler.longest = 500
    handler.do_GET = lambda self: send(self) if not self.asked else self.asked.append("no")
    refused(url, "stopped after 500 of")
    handler.do_GET = send
    handler.longest = 10**6
    setattr(handler, change, {"version": '"two"', "ranges": False}[change])
    path = locate(url)
    assert path.read_bytes() == handler.content
    assert files(cache) == [path], "what was left is gone"


def test_a_file_that_changes_in_between_is_not_put_together(cutting, cache):
    handler, url = cutting
    send = handler.do_GET
    handler.longest = 500

    def change(self):
        send(self)
        handler.version = '"two"'

    handler.do_GET = change
    refused(url, "was replaced while it was downloaded: run it again")
    assert not files(cache)


def test_what_another_process_writes_is_left_alone(cutting, cache):
    """On another machine whose locks do not reach this one, or where there are no locks."""
    handler, url = cutting
    path = locate(url)
    path.unlink()
    partial = sources._Partial(path.parent, alone=True)
    partial.take(handler.version)
    others = partial.path.with_name(f".0{partial.path.name[2:]}")
    others.write_bytes(b"PK")
    assert locate(url) == path
    assert others.read_bytes() == b"PK"
    partial.path.write_bytes(b"PK")
    without_locks = sources._Partial(path.parent, alone=False)
    without_locks.take(handler.version)
    without_locks.delete_others()
    assert without_locks.path != partial.path
    assert partial.path.read_bytes() == b"PK"


def test_a_process_waits_for_one_that_downloads_the_same_file(server, weights, cache):
    path = locate(f"{server}/weights.pth")
    path.unlink()
    with ThreadPoolExecutor(1) as pool, (path.parent / sources.LOCK).open("ab") as file:
        with locked(file) as alone:
            assert alone
            other = pool.submit(locate, f"{server}/weights.pth")
            with pytest.raises(TimeoutError):
                other.result(0.2)
            path.write_bytes(b"of the first process")
        assert other.result(600) == path
    assert path.read_bytes() == b"of the first process"


def test_one_process_of_several_may_ask_alone(server, weights, monkeypatch):
    """It does not wait for the others to ask as well."""
    monkeypatch.setattr("mmengine.dist.get_rank", lambda *_: 1)
    monkeypatch.setattr("mmengine.dist.get_world_size", lambda *_: 2)
    monkeypatch.setattr("mmengine.dist.barrier", lambda *_: pytest.fail("waits for the others"))
    assert locate(f"{server}/weights.pth").read_bytes() == weights.read_bytes()


def test_a_file_in_the_folder_of_torch_hub_is_taken_if_it_has_the_hash(nobody, weights, cache):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    hub = cache / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    for name in (f"right-{digest[:8]}.pth", "wrong-01234567.pth", "unknown.pth"):
        (hub / name).write_bytes(weights.read_bytes())
    name = f"right-{digest[:8]}.pth"
    assert locate(f"{nobody}/{name}") == hub / name
    for name in ("wrong-01234567.pth", "unknown.pth"):
        refused(f"{nobody}/{name}", "cannot be downloaded")


def test_plain_http_without_a_hash_is_a_warning(server, weights, tmp_path, capsys):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (tmp_path / f"weights-{digest[:8]}.pth").write_bytes(weights.read_bytes())
    locate(f"{server}/weights-{digest[:8]}.pth")
    assert "plain http" not in capsys.readouterr().out
    locate(f"{server}/weights.pth")
    assert f"{server}/weights.pth comes over plain http" in capsys.readouterr().out


def test_two_downloads_of_one_file_at_once_do_not_harm_each_other(server, weights, cache):
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(locate, [f"{server}/weights.pth"] * 4))
    assert files(cache) == [paths[0]]
    assert paths[0].read_bytes() == weights.read_bytes()
    assert paths[0].stat().st_mode == weights.stat().st_mode, "others may read it too"


def test_a_disk_that_cannot_be_written_is_named(server, weights, cache):
    cache.write_text("a file where the folder should be")
    refused(f"{server}/weights.pth", r"cannot be kept in .*cache.*: Not a directory.*TORCH_HOME")


def test_a_full_disk_is_not_blamed_on_the_network(server, weights, cache, monkeypatch):
    def receive(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "_receive", receive)
    refused(f"{server}/weights.pth", "No space left on device. Make room")
    assert not files(cache)


def test_the_hash_in_a_name_is_checked(server, weights, tmp_path, cache):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    good = [f"model-{digest[:8]}_20230724.pth", f"model_20221219-{digest[:8]}.pth"]
    # A date is no hash, nor are eight letters that do not follow a hyphen.
    good += ["model-20230724.pth", "model_20230724.pth", "model_deadbeef.pth"]
    bad = "model_20221219-01234567.pth"
    for name in (*good, bad):
        (tmp_path / name).write_bytes(weights.read_bytes())
    for name in good:
        assert locate(f"{server}/{name}").name == name
    refused(f"{server}/{bad}", f"has SHA-256 {digest}, expected 01234567.*replaced")
    assert sorted(path.name for path in files(cache)) == sorted(good)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"weights_sha256": "0" * 64}, "has SHA-256 .*replaced"),
        ({"weights_size": 7}, "has .* bytes, expected 7"),
    ],
)
def test_what_the_zoo_knows_of_a_file_is_checked(
    server, weights, monkeypatch, cache, known, message
):
    unknown = {"weights_sha256": None, "weights_size": None}
    model = replace(list_models()[0], **{**unknown, **known})
    monkeypatch.setattr(sources, "published_file", lambda url: model)
    refused(f"{server}/weights.pth", message)
    assert not files(cache)


def test_every_file_of_openmmlab_in_the_zoo_has_its_hash_in_its_name():
    urls = {model.weights for model in list_models() if "openmmlab" in (model.weights or "")}
    assert urls
    assert all(len(sources.HASH_IN_NAME.search(url)[1]) == 8 for url in urls)
