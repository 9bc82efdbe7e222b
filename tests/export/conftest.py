"""The client of the docs, run without torch and OpenMMLab."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = """
import sys
for name in ("torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmseg", "mmpose", "mmaction"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
"""


@pytest.fixture(scope="session")
def run_client(tmp_path_factory):
    """A function from a model file and an image or a video to the client's results."""
    text = (ROOT / "docs" / "export.md").read_text()
    (code,) = (block for block in text.split("```python\n") if block.startswith("import json"))
    client = tmp_path_factory.mktemp("client") / "client.py"
    client.write_text(code.split("```")[0])

    def run(model, source):
        out = model.with_suffix(".npz")
        command = [sys.executable, "-c", WITHOUT, client, model, source, out]
        subprocess.run([str(entry) for entry in command], check=True, timeout=120)
        with np.load(out) as results:
            return [results[name] for name in results.files]

    return run
