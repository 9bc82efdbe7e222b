"""Shared by all tests: no network, one thread, synthetic data and small models.

Fixtures that are built once per process: `synthetic_folder` (a COCO set), `synthetic_sets` (sets of
every task), `inferencer_of` (a small `Inferencer` of every task), `trained` (a training by the
tool). Their configs and helpers are in `small_models.py` and `running.py`.
"""

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
from mmengine.config import config as config_module
from mmengine.config import utils as config_utils
from mmengine.runner import CheckpointLoader
from runs import forget_runs
from yapf.yapflib import yapf_api

import uniformer_mm  # noqa: F401  # the stack is repaired before any test imports more of it

# Two processes run tests in parallel, one thread each, and so do their children. Threads of OpenMP
# that spin while they wait would take the other process's core.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
torch.set_num_threads(1)
# Each `_base_ = "mmdet::..."` of a config reads all metafiles of the codebase: 100 YAML files.
config_utils.load = functools.cache(config_utils.load)


def pytest_collection_modifyitems(items):
    """Mark `quick` tests, and let one process run all tests that use `trained`."""
    for item in items:
        if not {"heads", "stack", "slow"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker("quick")
        if "trained" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("trained"))


@pytest.fixture(scope="module", autouse=True)
def quick_garbage_collection():
    """Keep imported modules out of the collections that every dataset of mmengine asks for."""
    gc.collect()
    gc.freeze()


def _keep_format(text, **_):
    return text, True


@pytest.fixture(autouse=True)
def process_settings(monkeypatch, request):
    """Give every test the same state of the process, in any order."""
    if "compat" not in request.path.parts:  # yapf takes longer than most trainings here
        for module in (config_module, yapf_api):  # mmengine's fork takes the latter
            monkeypatch.setattr(module, "FormatCode", _keep_format, raising=False)
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
    """Keep the records of passed annotation files out of the user's cache."""
    os.environ["UNIFORMER_MM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory) -> Path:
    """Working directory with a small synthetic COCO set under data/synthetic."""
    from uniformer_mm.datasets.synthetic.coco import SyntheticCoco
    from uniformer_mm.tasks.mmdet import Detection

    folder = tmp_path_factory.mktemp("synthetic")
    parent = folder / "data" / "synthetic"
    SyntheticCoco(num_train=8, num_val=2, image_size=Detection.image_size).make(
        parent / "8" / "coco"
    )
    (parent / "coco").symlink_to(Path("8", "coco"))  # for --coco
    return folder


@pytest.fixture(scope="session")
def synthetic_sets(tmp_path_factory) -> Path:
    """Folder for `Task.use_synthetic_data`, which generates each set when it is first used."""
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="session")
def _inferencers():
    return {}


@pytest.fixture
def inferencer_of(_inferencers):
    """Small models of 'det', 'seg', 'pose', 'video' and 'cls' with random weights.

    Call it with a task; options are reset at every call.
    """
    from small_models import build_inferencer

    def inferencer_of(task, batch_size=1, threshold=0.0):
        if task not in _inferencers:
            _inferencers[task] = build_inferencer(task)
        inferencer = _inferencers[task]
        inferencer.batch_size, inferencer.threshold, inferencer.people = batch_size, threshold, None
        return inferencer

    return inferencer_of


@pytest.fixture(scope="session")
def trained(synthetic_folder):
    """Working directory, output and errors of a training of two iterations by the tool."""
    from running import BRIEF, ROOT, run_script
    from small_models import DETECTOR

    config, work_dir = synthetic_folder / "detector.py", synthetic_folder / "trained"
    config.write_text(DETECTOR)
    status, output, errors = run_script(
        *(ROOT / "tools" / "train.py", config, "--synthetic", 8, "--work-dir", work_dir),
        *("--cfg-options", *BRIEF),
        folder=synthetic_folder,
    )
    assert status == 0, output[-3000:] + errors[-3000:]
    return work_dir, (output, errors)


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
    """A local address where no server listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
