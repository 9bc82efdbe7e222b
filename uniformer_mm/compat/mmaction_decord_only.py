"""mmaction2 reads videos with decord where it does not have to.

Defect: its inferencer replaces the reader of every config by decord, its visualizer knows no other,
    RepeatAugDataset refuses others, and most configs name it. decord was last released in 2021, has
    no wheels for some platforms, and returns other frames than asked for in AVI, MPEG streams,
    open-GOP H.264 and cut files
    (https://github.com/dmlc/decord/issues/252, 365).
Versions: mmaction2 1.2.0.
Shows as: "Please install decord to load video file.", "RepeatAugDataset requires decord".
Repair: `VideoReader` in the inferencer and the visualizer; any pair of steps that opens and
    decodes a video in RepeatAugDataset; where decord is absent, DecordInit and DecordDecode read
    with `VideoReader`.
"""

from __future__ import annotations

import functools
import os
import re
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import

READERS = r"^(?:mmengine\.|mmaction\.)?(?:VideoReader|OpenCV|PyAV|PIMS)(?=(?:Init|Decode)$)"
"""What names of steps begin with that do the same as DecordInit and DecordDecode."""


def apply() -> None:
    """Repair mmaction2's modules as soon as they are imported."""
    repair_after_import("mmaction.apis.inferencers.actionrecog_inferencer", repair_inferencer)
    repair_after_import("mmaction.visualization.action_visualizer", repair_visualizer)
    repair_after_import("mmaction.datasets.repeat_aug_dataset", repair_repeat_aug)
    repair_after_import("mmaction.datasets.transforms.loading", repair_loading)


def is_active() -> bool:
    """Whether mmaction is installed: every version that we take has the defect."""
    return find_spec("mmaction") is not None


def repair_inferencer(module: ModuleType) -> None:
    """Let pipelines of the inferencer read videos with `VideoReader`."""
    compose = module.Compose
    if hasattr(compose, "__wrapped__"):
        return

    @functools.wraps(compose, updated=())
    def compose_exact(steps: Any) -> Any:
        import uniformer_mm.datasets.transforms.video_transforms  # noqa: F401  registers the steps

        names = {name: f"mmengine.VideoReader{name[6:]}" for name in ("DecordInit", "DecordDecode")}
        return compose([{**step, "type": names.get(step["type"], step["type"])} for step in steps])

    module.Compose = compose_exact  # type: ignore[attr-defined]


def repair_visualizer(module: ModuleType) -> None:
    """Let the visualizer read video files with `VideoReader`."""
    load = module.ActionVisualizer._load_video
    if hasattr(load, "__wrapped__"):
        return

    @functools.wraps(load)
    def load_exact(self: Any, video: Any, target_resolution: Any = None) -> Any:
        if isinstance(video, str) and os.path.isfile(video):
            from uniformer_mm.datasets.video_reader import VideoReader

            with VideoReader(video) as reader:
                video = [frame[..., ::-1] for frame in reader]
        return load(self, video, target_resolution)

    module.ActionVisualizer._load_video = load_exact


def repair_repeat_aug(module: ModuleType) -> None:
    """Let RepeatAugDataset take every pair of steps that opens and decodes a video."""
    get_type = module.get_type
    if hasattr(get_type, "__wrapped__"):
        return

    @functools.wraps(get_type)
    def get_kind(transform: Any) -> str:
        kind = get_type(transform)
        return re.sub(READERS, "Decord", getattr(kind, "__name__", kind))

    module.get_type = get_kind  # type: ignore[attr-defined]


def repair_loading(module: ModuleType) -> None:
    """Let DecordInit and DecordDecode read with `VideoReader` where decord is absent."""
    open_video, decode = module.DecordInit.transform, module.DecordDecode.transform
    if hasattr(open_video, "__wrapped__"):
        return

    @functools.wraps(open_video)
    def open_with_what_is_there(self: Any, results: dict[str, Any]) -> dict[str, Any]:
        if find_spec("decord") is not None:
            return open_video(self, results)
        from uniformer_mm.datasets.transforms.video_transforms import VideoReaderInit

        on_disk = self.io_backend == "disk"
        backend = None if on_disk else {"backend": self.io_backend, **self.kwargs}
        return VideoReaderInit(threads=self.num_threads, backend_args=backend).transform(results)

    @functools.wraps(decode)
    def decode_with_the_same(self: Any, results: dict[str, Any]) -> dict[str, Any]:
        from uniformer_mm.datasets.video_reader import VideoReader

        if not isinstance(results["video_reader"], VideoReader):
            return decode(self, results)
        from uniformer_mm.datasets.transforms.video_transforms import VideoReaderDecode

        return VideoReaderDecode().transform(results)

    module.DecordInit.transform = open_with_what_is_there
    module.DecordDecode.transform = decode_with_the_same
