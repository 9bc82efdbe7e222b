"""Shared by all tests: no network, few threads, a drawn dataset."""

import functools
import http.server
import os
import threading
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

# Two processes run tests side by side, one thread each, and so does what they start. Threads of
# OpenMP that spin while they wait would take the other process's core.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def process_settings(monkeypatch):
    """A test leaves neither our checkpoint reader nor its number of threads to the next one."""
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory) -> Path:
    """Working directory with a small synthetic COCO set under data/synthetic, made once."""
    from uniformer_mm.datasets.synthetic_coco import SyntheticCocoSpec, make_synthetic_coco
    from uniformer_mm.tasks.detection import IMAGE_SIZE
    from uniformer_mm.tasks.task import make_spec

    folder = tmp_path_factory.mktemp("synthetic")
    spec = make_spec(SyntheticCocoSpec, 8, image_size=IMAGE_SIZE)
    parent = folder / "data" / "synthetic"
    make_synthetic_coco(parent / "8" / "coco", spec)
    (parent / "coco").symlink_to(Path("8", "coco"))  # for --coco
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
