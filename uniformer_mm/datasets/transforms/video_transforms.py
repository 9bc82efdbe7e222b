"""Transforms of the video recipes that mmaction2 does not have.

They are registered in mmengine's root registry: ``type='mmengine.SampleWindow'``.
"""

import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageOps

from uniformer_mm.datasets.video_reader import VideoReader

MAX_LEVEL = 10.0
"""Magnitude at which an operation of `ClipRandAugment` does the most."""

APPLY_PROBABILITY = 0.5
FILL_COLOUR = (128, 128, 128)


@TRANSFORMS.register_module()
class VideoReaderInit(BaseTransform):
    """Open a video with `VideoReader`; takes the place of mmaction's DecordInit.

    Required key: filename. Added keys: video_reader, total_frames, avg_fps.

    Args:
        threads: Threads that decode; 0 leaves the number to FFmpeg.
        fps: Frames per second to resample to, as ffmpeg's filter `fps` does; None does not.
        backend_args: Of mmengine's file backend, where videos are not local files.
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
    """Decode the chosen frames; takes the place of mmaction's DecordDecode.

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
    """Choose frames that are spread evenly over a window of a video, as the authors did.

    The window has `clip_len * frame_interval` frames. Its first and its last frame are taken, and
    positions between them are rounded down, so that steps are a little longer than
    `frame_interval`. Where a video is shorter than the window, its last frame is repeated.
    (mmaction's SampleFrames takes steps of exactly `frame_interval` and starts over.)

    Required keys: total_frames, start_index. Added keys: frame_inds, clip_len, frame_interval,
    num_clips.

    Args:
        clip_len: Frames of a clip.
        frame_interval: Mean distance of the frames of a clip.
        num_clips: Clips per video in testing, from the first to the last possible window; one is
            taken from the middle.
        test_mode: Fixed windows; otherwise one window at random.
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

    Each of `num_ops` operations is drawn from fifteen with replacement and applied with
    probability 0.5, at a magnitude that is normally distributed around `magnitude`, between 0 and
    10. torchvision's RandAugment has other operations, no such probability and fixed magnitudes.

    Required and modified key: imgs, frames (H, W, 3), RGB, uint8.

    Args:
        magnitude: Mean magnitude, from 0 (least) to 10 (most).
        num_ops: Operations per clip.
        magnitude_std: Standard deviation of the magnitude.
        increasing: Whether every operation does more with a greater magnitude ('inc1'). Otherwise
            posterising and solarising do less, and colour, contrast, brightness and sharpness rise
            with it from 0.1 to 1.9 times the original.
        as_bgr: Whether the operations take red for blue, as the authors' do where they train on
            BGR frames. Colour and contrast weight the channels by their brightness.
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
        """Draw the operations once and apply them to every frame."""
        operations = INCREASING_OPERATIONS if self.increasing else OPERATIONS
        images = [Image.fromarray(frame[..., self.channels]) for frame in results["imgs"]]
        for index in np.random.randint(len(operations), size=self.num_ops):
            if np.random.random() < APPLY_PROBABILITY:
                operation = operations[index]
                level = np.random.normal(self.magnitude, self.magnitude_std)
                argument = operation.argument(float(np.clip(level, 0, MAX_LEVEL)) / MAX_LEVEL)
                images = [operation.apply(image, argument) for image in images]
        results["imgs"] = [
            np.ascontiguousarray(np.array(image)[..., self.channels]) for image in images
        ]
        return results


class Operation(NamedTuple):
    """An operation of RandAugment.

    Attributes:
        name: What it does.
        apply: Function of an image and an argument.
        argument: From a relative magnitude (0 to 1) to the argument; it may draw a sign.
    """

    name: str
    apply: Callable[[Image.Image, float], Image.Image]
    argument: Callable[[float], float]


def _either_sign(value: float) -> float:
    return -value if np.random.random() < 0.5 else value


def _affine(image: Image.Image, *coefficients: float) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        coefficients,
        resample=Image.Resampling.BICUBIC,
        fillcolor=FILL_COLOUR,
    )


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=FILL_COLOUR)


def _posterise(image: Image.Image, bits: float) -> Image.Image:
    return ImageOps.posterize(image, max(int(bits), 1))  # Pillow refuses 0 bits, a black image


def _solarise(image: Image.Image, threshold: float) -> Image.Image:
    return ImageOps.solarize(image, int(threshold))


def _solarise_add(image: Image.Image, amount: float) -> Image.Image:
    """Brighten what is darker than the middle."""
    table = [min(value + int(amount), 255) if value < 128 else value for value in range(256)]
    return image.point(table * 3)


def _enhance(kind: type) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, factor: kind(image).enhance(factor)


def _enhancements(argument: Callable[[float], float]) -> tuple[Operation, ...]:
    return (
        Operation("Color", _enhance(ImageEnhance.Color), argument),
        Operation("Contrast", _enhance(ImageEnhance.Contrast), argument),
        Operation("Brightness", _enhance(ImageEnhance.Brightness), argument),
        Operation("Sharpness", _enhance(ImageEnhance.Sharpness), argument),
    )


_COMMON = (
    Operation("AutoContrast", lambda image, _: ImageOps.autocontrast(image), float),
    Operation("Equalize", lambda image, _: ImageOps.equalize(image), float),
    Operation("Invert", lambda image, _: ImageOps.invert(image), float),
    Operation("Rotate", _rotate, lambda level: _either_sign(30 * level)),
    Operation("SolarizeAdd", _solarise_add, lambda level: 110 * level),
    Operation(
        "ShearX",
        lambda image, factor: _affine(image, 1, factor, 0, 0, 1, 0),
        lambda level: _either_sign(0.3 * level),
    ),
    Operation(
        "ShearY",
        lambda image, factor: _affine(image, 1, 0, 0, factor, 1, 0),
        lambda level: _either_sign(0.3 * level),
    ),
    Operation(
        "TranslateXRel",
        lambda image, share: _affine(image, 1, 0, share * image.size[0], 0, 1, 0),
        lambda level: _either_sign(0.45 * level),
    ),
    Operation(
        "TranslateYRel",
        lambda image, share: _affine(image, 1, 0, 0, 0, 1, share * image.size[1]),
        lambda level: _either_sign(0.45 * level),
    ),
)

OPERATIONS = (
    *_COMMON,
    *_enhancements(lambda level: 0.1 + 1.8 * level),
    Operation("Posterize", _posterise, lambda level: math.floor(4 * level)),
    Operation("Solarize", _solarise, lambda level: math.floor(256 * level)),
)
"""Those of the variant in which a greater magnitude is not always more."""

INCREASING_OPERATIONS = (
    *_COMMON,
    *_enhancements(lambda level: 1 + _either_sign(0.9 * level)),
    Operation("Posterize", _posterise, lambda level: 4 - math.floor(4 * level)),
    Operation("Solarize", _solarise, lambda level: 256 - math.floor(256 * level)),
)
"""Those of the variant 'inc1'."""
