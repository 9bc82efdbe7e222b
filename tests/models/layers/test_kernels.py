"""Triton kernels for GPUs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from uniformer_mm.models.layers.depthwise import HAS_KERNELS

CASES = Path(__file__).with_name("kernel_cases.py")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_KERNELS, reason="the kernels need Triton and torch 2.7")
def test_the_kernels_give_what_pytorch_gives():
    # Triton chooses its interpreter when it is imported.
    interpreter = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rs", "--no-header", str(CASES)]
    run = subprocess.run(
        command, env={**os.environ, **interpreter}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
