"""mmaction2 reads videos with decord only, in places where any reader would do.

Defect: its inferencer replaces the reader of every config by decord, its visualizer and
    RepeatAugDataset support no other, and most configs name it. decord was last released in 2021,
    has no wheels for some platforms, and returns wrong frames for AVI, MPEG streams, open-GOP H.264
    and cut files (https://github.com/dmlc/decord/issues/252, 365).
Versions: mmaction2 1.2.0.
Shows as: "Please install decord to load video file.", "RepeatAugDataset requires decord".
Repair: `VideoReader` in the inferencer and the visualizer; any pair of transforms that opens and
    decodes a video in RepeatAugDataset; where decord is absent, DecordInit and DecordDecode read
    with `VideoReader`.
"""

import os
import re
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap

READERS = r"^(?:mmengine\.|mmaction\.)?(?:VideoReader|OpenCV|PyAV|PIMS)(?=(?:Init|Decode)$)"
"""Prefix of the names of transforms that do the same as DecordInit and DecordDecode."""


def patch_inferencer(module: ModuleType) -> None:
    """Let pipelines of the inferencer read videos with `VideoReader`."""
    wrap(module, "Compose", _compose)


def _compose(compose: Any, steps: Any) -> Any:
    import uniformer_mm.datasets.transforms.video_transforms  # noqa: F401  registers the steps

    names = {name: f"mmengine.VideoReader{name[6:]}" for name in ("DecordInit", "DecordDecode")}
    return compose([{**step, "type": names.get(step["type"], step["type"])} for step in steps])


def patch_visualizer(module: ModuleType) -> None:
    """Let the visualizer read video files with `VideoReader`."""
    wrap(module.ActionVisualizer, "_load_video", _load_video)


def _load_video(load: Any, self: Any, video: Any, target_resolution: Any = None) -> Any:
    if isinstance(video, str) and os.path.isfile(video):
        from uniformer_mm.datasets.video_reader import VideoReader

        with VideoReader(video) as reader:
            video = [frame[..., ::-1] for frame in reader]
    return load(self, video, target_resolution)


def patch_repeat_aug(module: ModuleType) -> None:
    """Let RepeatAugDataset accept every pair of transforms that opens and decodes a video."""
    wrap(module, "get_type", _get_type)


def _get_type(get_type: Any, transform: Any) -> str:
    kind = get_type(transform)
    return re.sub(READERS, "Decord", getattr(kind, "__name__", kind))


def patch_loading(module: ModuleType) -> None:
    """Let DecordInit and DecordDecode read with `VideoReader` where decord is absent."""
    wrap(module.DecordInit, "transform", _open)
    wrap(module.DecordDecode, "transform", _decode)


def _open(open_video: Any, self: Any, results: dict[str, Any]) -> dict[str, Any]:
    if find_spec("decord") is not None:
        return open_video(self, results)
    from uniformer_mm.datasets.transforms.video_transforms import VideoReaderInit

    on_disk = self.io_backend == "disk"
    backend = None if on_disk else {"backend": self.io_backend, **self.kwargs}
    return VideoReaderInit(threads=self.num_threads, backend_args=backend).transform(results)


def _decode(decode: Any, self: Any, results: dict[str, Any]) -> dict[str, Any]:
    from uniformer_mm.datasets.transforms.video_transforms import VideoReaderDecode
    from uniformer_mm.datasets.video_reader import VideoReader

    if not isinstance(results["video_reader"], VideoReader):
        return decode(self, results)
    return VideoReaderDecode().transform(results)


PATCHES = {
    "mmaction.apis.inferencers.actionrecog_inferencer": patch_inferencer,
    "mmaction.visualization.action_visualizer": patch_visualizer,
    "mmaction.datasets.repeat_aug_dataset": patch_repeat_aug,
    "mmaction.datasets.transforms.loading": patch_loading,
}
