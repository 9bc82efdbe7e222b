"""Shared by all tests: no network, few threads, a drawn dataset."""

import functools
import http.server
import threading
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def mmengine_readers(monkeypatch):
    """A test that builds a Runner does not leave our checkpoint reader to the next one."""
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory) -> Path:
    """Working directory with a small synthetic COCO set under data/synthetic, made once."""
    from uniformer_mm.datasets.synthetic_coco import SyntheticCocoSpec, make_synthetic_coco
    from uniformer_mm.tasks.detection import IMAGE_SIZE
    from uniformer_mm.tasks.task import make_spec

    folder = tmp_path_factory.mktemp("synthetic")
    spec = make_spec(SyntheticCocoSpec, 8, image_size=IMAGE_SIZE)
    make_synthetic_coco(folder / "data" / "synthetic" / "coco", spec)
    return folder


@pytest.fixture
def server(tmp_path):
    """A web server on this machine whose root is `tmp_path`."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
