"""Time, memory and floating-point operations of functions, and the speed limits of a device."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

Function = Callable[[], object]

SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Sides of the square matrices that `measure_ceiling` multiplies, by type of device."""

COPIED_BYTES = 2**28


@dataclass(frozen=True)
class Timing:
    """Time and memory of one function.

    Attributes:
        seconds: One entry per round.
        peak_bytes: Largest sum of tensors alive at once beyond those alive before the call.
    """

    seconds: Sequence[float]
    peak_bytes: int

    @property
    def median(self) -> float:
        """Median of the rounds in seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the rounds in seconds."""
        return _quartiles(self.seconds)

    def speedup(self, other: "Timing") -> tuple[float, float, float]:
        """Median, first and third quartile of the other's time over this one's, round by round."""
        ratios = [b / a for a, b in zip(self.seconds, other.seconds, strict=True)]
        return (statistics.median(ratios), *_quartiles(ratios))


@dataclass(frozen=True)
class Ceiling:
    """Highest measured speeds of a device.

    Attributes:
        flops: Floating-point operations per second of a matrix product.
        bytes: Bytes read and written per second by a copy.
    """

    flops: float
    bytes: float


def interleave(
    functions: Mapping[str, Function], device: torch.device, rounds: int, warmup: int = 2
) -> dict[str, Timing]:
    """Call functions in turns (A B C A B C ...) and time every call.

    Args:
        functions: Functions by name.
        device: The device that they run on.
        rounds: Timed calls of each function.
        warmup: Calls of each function before the timed ones.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()
    peaks = {name: peak_memory(function, device) for name, function in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = now()
            function()
            seconds[name].append(now() - start)
    return {name: Timing(seconds[name], peaks[name]) for name in functions}


def now() -> float:
    """Seconds on a clock, after the work that GPUs have been given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(function: Function, device: torch.device) -> int:
    """Largest number of bytes that a call has allocated at once.

    A function with an attribute `peak_bytes` knows it.
    """
    if hasattr(function, "peak_bytes"):
        return function.peak_bytes
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with TemporaryDirectory() as folder, _silent_stderr():
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            function()
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    alive = peak = 0
    changes = [event for event in events if event.get("name") == "[memory]"]
    for event in sorted(changes, key=lambda event: event["ts"]):
        alive += event["args"]["Bytes"]
        peak = max(peak, alive)
    return peak


def measure_ceiling(device: torch.device, dtype: torch.dtype) -> Ceiling:
    """Measure matrix products of several sizes and a copy of 256 MiB."""
    from torch.utils.benchmark import Timer  # it imports torch's C++ toolchain, which may warn

    def fastest(statement: str, **tensors: torch.Tensor) -> float:
        measured = Timer(statement, globals=tensors, num_threads=torch.get_num_threads())
        return min(measured.blocked_autorange().times)

    flops = 0.0
    for side in SIDES["cuda" if device.type == "cuda" else "cpu"]:
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        flops = max(flops, 2 * side**3 / fastest("a @ b", a=a, b=b))
    source = torch.ones(COPIED_BYTES // 4, device=device)
    copy = fastest("target.copy_(source)", source=source, target=torch.empty_like(source))
    return Ceiling(flops, 2 * COPIED_BYTES / copy)


def operator_times(run: Function, device: torch.device) -> list[tuple[str, int, float]]:
    """What a call spends its time on.

    Args:
        run: The function, which has been called before.
        device: For a GPU, its kernels are timed; for a CPU, PyTorch's operators.

    Returns:
        Name, calls and seconds, the longest first.
    """
    gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with _silent_stderr(), profile(activities=activities) as profiler:
        run()
        now()
    rows = []
    for event in profiler.key_averages():
        if gpu and event.device_type == torch.autograd.DeviceType.CUDA:
            rows.append((event.key, event.count, event.self_device_time_total / 1e6))
        elif not gpu and event.self_cpu_time_total:
            rows.append((event.key, event.count, event.self_cpu_time_total / 1e6))
    return sorted(rows, key=lambda row: -row[2])


def count_flops(run: Function) -> int:
    """Floating-point operations of a call, two per multiply-add, of products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what native code, here the profiler's, writes to stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third
