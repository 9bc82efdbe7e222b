"""Reading a video can wait forever where torchvision turns on the log of PyAV.

Defect: on import, torchvision sets PyAV's log level to ERROR. A decoder thread of FFmpeg that logs
    an error then needs Python's lock, which the end of the decoder holds while it waits for the
    thread.
Versions: torchvision 0.21 (torch 2.6) with PyAV 17.1; not torchvision 0.28.
Shows as: a process that hangs in `avcodec_free_context`.
Repair: PyAV's default, no log.
Upstream: https://github.com/pytorch/vision/blob/v0.21.0/torchvision/io/video.py
"""

from types import ModuleType


def patch(module: ModuleType) -> None:
    """Restore the default; without PyAV, `module.av` is an ImportError."""
    log = getattr(getattr(module, "av", None), "logging", None)
    if log is not None:
        log.set_level(None)


PATCHES = dict.fromkeys(("torchvision.io.video", "torchvision.io.video_reader"), patch)
