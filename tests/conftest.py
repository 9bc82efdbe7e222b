"""Shared by all tests: no network, few threads, a drawn dataset."""

import functools
import gc
import http.server
import os
import random
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader
from runs import forget_runs

import uniformer_mm  # noqa: F401  # the stack is repaired before any test imports more of it

# Two processes run tests side by side, one thread each, and so does what they start. Threads of
# OpenMP that spin while they wait would take the other process's core.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Mark as `quick` what is neither `stack` nor `slow`."""
    for item in items:
        if not {"stack", "slow"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker("quick")


@pytest.fixture(autouse=True)
def process_settings(monkeypatch):
    """What a test leaves in the process is not what another one starts with, in any order."""
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))
    forget_runs()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    environment = dict(os.environ)
    yield
    torch.set_num_threads(1)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module", autouse=True)
def frozen_modules():
    """Exclude imported modules from garbage collection, which every dataset of mmengine starts."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_of_checks(tmp_path_factory):
    """Which annotation files have passed is not noted in the user's cache."""
    os.environ["UNIFORMER_MM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory) -> Path:
    """Working directory with a small synthetic COCO set under data/synthetic, made once."""
    from uniformer_mm.datasets.synthetic.coco import SyntheticCoco
    from uniformer_mm.tasks.mmdet import IMAGE_SIZE

    folder = tmp_path_factory.mktemp("synthetic")
    parent = folder / "data" / "synthetic"
    SyntheticCoco(num_train=8, num_val=2, image_size=IMAGE_SIZE).make(parent / "8" / "coco")
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


@pytest.fixture
def nobody():
    """An address at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
