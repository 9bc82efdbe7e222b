"""Freed memory stays in the process where that is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = Path(__file__).resolve().parents[2] / "uniformer_mm" / "apis" / "memory.py"
COUNTING = """
import resource, runpy, sys, torch
keep_freed_memory = runpy.run_path(sys.argv[1])["keep_freed_memory"]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        for megabytes in (48, 12, 40):
            torch.zeros(megabytes * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
leave = (faults(), faults())[1]
print(leave, (faults(), faults())[1] if keep_freed_memory() else "unknown")
"""


@pytest.mark.slow
def test_freed_memory_is_not_requested_again():
    command = [sys.executable, "-c", COUNTING, MEMORY]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    leave, keep = output.split()
    if keep == "unknown":
        pytest.skip("no glibc here")
    assert int(keep) < int(leave) / 10, output
