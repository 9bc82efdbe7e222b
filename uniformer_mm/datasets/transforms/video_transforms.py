"""Transforms of the video recipes that mmaction2 does not have.

They are in mmengine's root registry: ``type='mmengine.SampleWindow'``.
"""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageOps

from uniformer_mm.datasets.video_reader import VideoReader

MAX_LEVEL = 10.0
"""Largest magnitude of `ClipRandAugment`."""

APPLY_PROBABILITY = 0.5
FILL_COLOUR = (128, 128, 128)


@TRANSFORMS.register_module()
class VideoReaderInit(BaseTransform):
    """Open a video with `VideoReader`; replaces mmaction's DecordInit.

    Required key: filename. Added keys: video_reader, total_frames, avg_fps.

    Args:
        threads: Number of decoding threads; 0 lets FFmpeg choose.
        fps: Frames per second to resample to, as FFmpeg's filter `fps` does.
        backend_args: Arguments of mmengine's file backend for videos that are not local files.
    """

    def __init__(
        self,
        threads: int = 1,
        fps: float | None = None,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        self.threads = threads
        self.fps = fps
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open the file.

        Raises:
            UserError: It cannot be read.
        """
        path = str(results["filename"])
        backend = get_file_backend(path, backend_args=self.backend_args, enable_singleton=True)
        source = path if isinstance(backend, LocalBackend) else io.BytesIO(backend.get(path))
        reader = VideoReader(source, threads=self.threads, fps=self.fps, name=path)
        results["video_reader"] = reader
        results["total_frames"] = len(reader)
        results["avg_fps"] = reader.fps
        return results


@TRANSFORMS.register_module()
class VideoReaderDecode(BaseTransform):
    """Decode the sampled frames; replaces mmaction's DecordDecode.

    Required keys: video_reader (a `VideoReader` or a `FrameFolder`, or frames (T, H, W, 3) in
    memory), frame_inds.
    Added keys: imgs, frames (H, W, 3), RGB, uint8; original_shape, img_shape (H, W). Modified keys:
    frame_inds, to one axis; video_reader, to None; gt_bboxes and proposals, if there are any, from
    fractions of the frame to pixels.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode, each frame once.

        Raises:
            UserError: The file cannot be decoded.
        """
        reader, results["video_reader"] = results["video_reader"], None
        indices = results["frame_inds"] = np.asarray(results["frame_inds"]).reshape(-1)
        if isinstance(reader, np.ndarray):
            images = reader[indices]
        else:
            with reader:
                images = reader.read(indices)
        results["imgs"] = list(images)
        height, width = results["imgs"][0].shape[:2]
        results["original_shape"] = results["img_shape"] = (height, width)
        for key in ("gt_bboxes", "proposals"):
            if results.get(key) is not None:
                sides = np.array([width, height, width, height])
                results[key] = (results[key] * sides).astype(np.float32)
        return results


@TRANSFORMS.register_module()
class SampleWindow(BaseTransform):
    """Sample frames evenly over a window of a video, as the authors did.

    The window has `clip_len * frame_interval` frames, of which the first and the last are taken.
    Positions between them are rounded down, so that steps are slightly longer than
    `frame_interval`. The last frame of a shorter video is repeated. (mmaction's SampleFrames takes
    steps of exactly `frame_interval` and starts over.)

    Required keys: total_frames, start_index. Added keys: frame_inds, clip_len, frame_interval,
    num_clips.

    Args:
        clip_len: Frames of a clip.
        frame_interval: Mean distance of the frames of a clip.
        num_clips: Clips per video in testing, from the first to the last possible window; a single
            one is in the middle.
        test_mode: Whether windows are fixed; otherwise one is sampled at random.
    """

    def __init__(
        self, clip_len: int, frame_interval: int, num_clips: int = 1, test_mode: bool = False
    ) -> None:
        self.clip_len = clip_len
        self.frame_interval = frame_interval
        self.num_clips = num_clips if test_mode else 1
        self.test_mode = test_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the frame numbers of all clips, one clip after the other."""
        total = results["total_frames"]
        window = self.clip_len * self.frame_interval
        clips = [
            # float32, like the authors': where a position should be whole, rounding decides.
            torch.linspace(start, start + window - 1, self.clip_len).clamp(0, total - 1).long()
            for start in self._starts(max(total - window, 0))
        ]
        results["frame_inds"] = torch.cat(clips).numpy() + results["start_index"]
        results["clip_len"] = self.clip_len
        results["frame_interval"] = self.frame_interval
        results["num_clips"] = self.num_clips
        return results

    def _starts(self, last: int) -> list[float]:
        """First frames of the windows, if `last` is the last possible one."""
        if not self.test_mode:
            return [np.random.uniform(0, last)]
        if self.num_clips == 1:
            return [last // 2]
        return [clip * (last // (self.num_clips - 1)) for clip in range(self.num_clips)]


@TRANSFORMS.register_module()
class ClipRandAugment(BaseTransform):
    """RandAugment (arXiv 1909.13719) in timm's variant, the same for all frames of a clip.

    Each of `num_ops` operations is sampled from fifteen with replacement and applied with
    probability 0.5, at a magnitude that is normally distributed around `magnitude`, from 0 to 10.
    torchvision's RandAugment has other operations, no such probability and fixed magnitudes.

    Required and modified key: imgs, frames (H, W, 3), RGB, uint8.

    Args:
        magnitude: Mean magnitude, from 0 (least) to 10 (most).
        num_ops: Operations per clip.
        magnitude_std: Standard deviation of the magnitude.
        increasing: Whether a greater magnitude always changes the image more ('inc1'). Otherwise
            Posterize and Solarize change less, and Color, Contrast, Brightness and Sharpness rise
            with it from 0.1 to 1.9 times the original.
        as_bgr: Whether operations see red and blue exchanged, as the authors' do where they train
            on BGR frames. Color and Contrast weight the channels differently.
    """

    def __init__(
        self,
        magnitude: float = 7,
        num_ops: int = 4,
        magnitude_std: float = 0.5,
        increasing: bool = True,
        as_bgr: bool = False,
    ) -> None:
        self.magnitude = magnitude
        self.num_ops = num_ops
        self.magnitude_std = magnitude_std
        self.increasing = increasing
        self.channels = slice(None, None, -1 if as_bgr else 1)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Sample the operations once and apply them to every frame."""
        images = [Image.fromarray(frame[..., self.channels]) for frame in results["imgs"]]
        for name in np.random.choice([*OPERATIONS], size=self.num_ops):
            if np.random.random() < APPLY_PROBABILITY:
                level = np.random.normal(self.magnitude, self.magnitude_std)
                level = float(np.clip(level, 0, MAX_LEVEL)) / MAX_LEVEL
                argument = operation_argument(name, level, self.increasing)
                images = [OPERATIONS[name](image, argument) for image in images]
        results["imgs"] = [
            np.ascontiguousarray(np.array(image)[..., self.channels]) for image in images
        ]
        return results


def _affine(image: Image.Image, *coefficients: float) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        coefficients,
        resample=Image.Resampling.BICUBIC,
        fillcolor=FILL_COLOUR,
    )


def _solarize_add(image: Image.Image, amount: float) -> Image.Image:
    """Brighten pixels below 128."""
    table = [min(value + int(amount), 255) if value < 128 else value for value in range(256)]
    return image.point(table * 3)


OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Rotate": lambda image, degrees: image.rotate(
        degrees, resample=Image.Resampling.BICUBIC, fillcolor=FILL_COLOUR
    ),
    "SolarizeAdd": _solarize_add,
    "ShearX": lambda image, factor: _affine(image, 1, factor, 0, 0, 1, 0),
    "ShearY": lambda image, factor: _affine(image, 1, 0, 0, factor, 1, 0),
    "TranslateXRel": lambda image, share: _affine(image, 1, 0, share * image.size[0], 0, 1, 0),
    "TranslateYRel": lambda image, share: _affine(image, 1, 0, 0, 0, 1, share * image.size[1]),
    "Color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "Contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "Brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "Sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    # 0 bits, a black image, is an error in Pillow.
    "Posterize": lambda image, bits: ImageOps.posterize(image, max(int(bits), 1)),
    "Solarize": lambda image, threshold: ImageOps.solarize(image, int(threshold)),
}
"""Functions of an image and an argument."""

SIGNED = {
    "Rotate": 30,
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateXRel": 0.45,
    "TranslateYRel": 0.45,
}
"""Operations with a random direction: largest argument."""


def operation_argument(name: str, level: float, increasing: bool) -> float:
    """Return the argument of an operation at a magnitude, with a random sign where it has one.

    Args:
        name: A key of `OPERATIONS`.
        level: Relative magnitude, from 0 to 1.
        increasing: Whether a greater magnitude always changes the image more.
    """
    sign = -1 if np.random.random() < 0.5 else 1
    if name in SIGNED:
        return sign * SIGNED[name] * level
    if name in ("Color", "Contrast", "Brightness", "Sharpness"):
        return 1 + sign * 0.9 * level if increasing else 0.1 + 1.8 * level
    if name in ("Posterize", "Solarize"):
        largest = 4 if name == "Posterize" else 256
        kept = math.floor(largest * level)
        return largest - kept if increasing else kept
    return 110 * level  # SolarizeAdd; others have no argument
