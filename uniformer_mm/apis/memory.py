"""What the process does with memory that PyTorch frees on a CPU."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's `mallopt(3)`."""

ALWAYS = 2**31 - 1
GROWTH = 2**27


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor instead of returning it to the system.

    Feature maps of large images are freed and allocated in every layer. By default glibc gives
    such blocks back each time, and the kernel fills each page with zeros when it is touched again.
    The process stays as large as it has once been.

    Returns:
        Whether it could be set: with glibc only, so on most Linux systems.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {M_TRIM_THRESHOLD: ALWAYS, M_MMAP_THRESHOLD: ALWAYS, M_TOP_PAD: GROWTH}
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings.items()]
    return all(accepted)
