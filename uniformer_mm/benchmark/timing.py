"""Times and memory of functions that run in turns, so that noise hits them alike."""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

Function = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """What one function took.

    Attributes:
        seconds: One entry per round.
        peak_bytes: Largest sum of tensors alive at once beyond those alive before the call.
    """

    seconds: tuple[float, ...]
    peak_bytes: int

    @property
    def median(self) -> float:
        """Median of the rounds in seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the rounds in seconds."""
        return _quartiles(self.seconds)

    def times_faster_than(self, other: "Timing") -> tuple[float, float, float]:
        """Median, first and third quartile of the other's time over this one's, round by round."""
        ratios = [b / a for a, b in zip(self.seconds, other.seconds, strict=True)]
        return (statistics.median(ratios), *_quartiles(ratios))


def interleave(
    functions: Mapping[str, Function], device: torch.device, rounds: int, warmup: int = 2
) -> dict[str, Timing]:
    """Run functions A B C, A B C ... and time every call.

    Args:
        functions: By name.
        device: What they run on; on CUDA, device events are read.
        rounds: Timed calls of each.
        warmup: Calls before them.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()
    peaks = {name: peak_memory(function, device) for name, function in functions.items()}
    clock = _cuda_seconds if device.type == "cuda" else _wall_seconds
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            seconds[name].append(clock(function))
    return {name: Timing(tuple(seconds[name]), peaks[name]) for name in functions}


def peak_memory(function: Function, device: torch.device) -> int:
    """Largest sum of bytes that a call has allocated at once, freed or not by its end."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    activity = [torch.profiler.ProfilerActivity.CPU]
    with (
        _silent_stderr(),
        torch.profiler.profile(activities=activity, profile_memory=True) as profiler,
    ):
        function()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [
        (event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"
    ]
    alive = peak = 0
    for _, change in sorted(changes, key=lambda entry: entry[0]):
        alive += change
        peak = max(peak, alive)
    return peak


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """The profiler's native code writes to it on its own account."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _wall_seconds(function: Function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _cuda_seconds(function: Function) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def _quartiles(values: tuple[float, ...] | list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third
