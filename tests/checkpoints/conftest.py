"""Checkpoints to download: caches of their own, a server of weights, a server of the Hub."""

import functools
import hashlib
import http.server
import threading

import pytest
import torch
from huggingface_hub import constants


class HubHandler(http.server.SimpleHTTPRequestHandler):
    """Serves OWNER/REPOSITORY/resolve/REVISION/FILE with the headers of the Hugging Face Hub."""

    def end_headers(self):
        content = self.path.encode()
        self.send_header("X-Repo-Commit", hashlib.sha1(content).hexdigest())
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Folder of `torch.hub`."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf_cache"))
    return tmp_path / "cache" / "hub" / "checkpoints"


@pytest.fixture
def weights(tmp_path):
    """A checkpoint in the root of the web server."""
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(3)}, path)
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Root folder of a server of the Hub: OWNER/REPOSITORY/resolve/REVISION/FILE."""
    root = tmp_path / "hub_server"
    root.mkdir()
    handler = functools.partial(HubHandler, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            f"http://127.0.0.1:{running.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        )
        yield root
        running.shutdown()
