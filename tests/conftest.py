"""Shared by all tests: no network, few threads, a drawn dataset."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory) -> Path:
    """Working directory with a small synthetic COCO set under data/synthetic, made once."""
    from uniformer_mm.datasets.synthetic import make_spec
    from uniformer_mm.datasets.synthetic_coco import make_synthetic_coco

    folder = tmp_path_factory.mktemp("synthetic")
    make_synthetic_coco(folder / "data" / "synthetic" / "coco", make_spec(8))
    return folder
