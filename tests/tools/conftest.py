"""A short training that several tests look at."""

import pytest
from running import BRIEF, CONFIG, run


@pytest.fixture(scope="session")
def trained(synthetic_folder):
    """Work dir and output of a training of two iterations."""
    work_dir = synthetic_folder / "trained"
    arguments = ["--synthetic", 8, "--work-dir", work_dir, "--cfg-options", *BRIEF]
    return work_dir, run("train.py", CONFIG, *arguments, cwd=synthetic_folder)


def pytest_collection_modifyitems(items):
    """One process runs the tests that look at the short training: it is made once."""
    for item in items:
        if "trained" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("trained"))
