"""A short training that several tests look at."""

import pytest
from running import BRIEF, CONFIG, run


@pytest.fixture(scope="session")
def trained(synthetic_folder):
    """Work dir and output of a training of two iterations."""
    work_dir = synthetic_folder / "trained"
    arguments = ["--synthetic", 8, "--work-dir", work_dir, "--cfg-options", *BRIEF]
    return work_dir, run("train.py", CONFIG, *arguments, cwd=synthetic_folder)
