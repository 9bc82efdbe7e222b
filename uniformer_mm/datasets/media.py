"""Read and write images and videos with OpenCV and PyAV.

Images are arrays (H, W, 3), uint8, BGR, as in OpenCV and OpenMMLab's pipelines.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from uniformer_mm.datasets.regular_files import open_regular
from uniformer_mm.errors import UserError, printable
from uniformer_mm.writing import partial_path, write_whole

if TYPE_CHECKING:
    from uniformer_mm.datasets.video_reader import VideoReader

Image = NDArray[np.uint8]

MAX_PIXELS = 2**28
"""Pixels of the largest image that is decoded by default: 0.8 GB."""

CODECS = {
    ".mp4": ("libx264", {"preset": "veryfast", "crf": "18"}),
    ".webm": ("libvpx", {"deadline": "realtime", "cpu-used": "4", "crf": "10", "b": "4M"}),
}
"""FFmpeg's encoders and their options, for formats that players and browsers support."""

FRAME_RATE = 25.0
"""Frames per second of cameras and frame folders."""


@dataclass(frozen=True)
class Frame:
    """An image file or a frame of a video.

    Attributes:
        name: File name, relative to the folder that was searched.
        image: (H, W, 3), BGR.
        video: Its video, if any.
        index: Its number in the video, from 0.
        boxes: Persons, (N, 4) as x1, y1, x2, y2 in pixels; for pose estimation.
    """

    name: str
    image: Image
    video: Video | None = None
    index: int | None = None
    boxes: NDArray[np.float32] | None = None

    @property
    def position(self) -> dict[str, Any]:
        """The frame number, for results."""
        return {} if self.index is None else {"frame": self.index}


@dataclass(frozen=True)
class Clip:
    """A video, or a part of one, that is recognized as a whole.

    Attributes:
        name: File name, relative to the folder that was searched.
        video: Its video, if any.
        images: Frames (T, H, W, 3), BGR; None for all of a video file.
        start: Number of the first frame in the video.
        boxes: Persons in the middle frame, (N, 4) as x1, y1, x2, y2 in pixels; for action
            detection.
    """

    name: str
    video: Video | None = None
    images: NDArray[np.uint8] | None = None
    start: int = 0
    boxes: NDArray[np.float32] | None = None

    @property
    def image(self) -> Image:
        """The frame in the middle."""
        if self.images is not None:
            return self.images[len(self.images) // 2]
        assert self.video is not None, "a clip has a video or images"
        with self.video.open() as reader:
            middle = reader.read(np.array([len(reader) // 2]))[0]
        return np.ascontiguousarray(middle[..., ::-1])

    @property
    def position(self) -> dict[str, Any]:
        """Numbers of the first and the last frame, for results."""
        if self.video is None or self.images is None:
            return {}
        return {"frames": [self.start, self.start + len(self.images) - 1]}

    def frames(self) -> Iterator[Image]:
        """Iterate over all frames."""
        if self.images is not None:
            return iter(self.images)
        assert self.video is not None, "a clip has a video or images"
        return self.video.images()

    def sample_frames(self, count: int) -> NDArray[np.uint8]:
        """Return at most `count` frames (T, H, W, 3), evenly spaced."""
        if self.images is not None:
            return self.images[_evenly_spaced(len(self.images), count)]
        assert self.video is not None, "a clip has a video or images"
        with self.video.open() as reader:
            return reader.read(_evenly_spaced(len(reader), count))[..., ::-1]


@dataclass(frozen=True)
class ImageFile:
    """An image file.

    Attributes:
        path: The file.
        name: File name, relative to the folder that was searched.
        max_pixels: Limit above which it is not decoded.
    """

    path: Path
    name: str
    max_pixels: int = MAX_PIXELS

    def frames(self) -> Iterator[Frame]:
        """Yield the image."""
        yield Frame(self.name, read_image(self.path, self.max_pixels))


@dataclass(eq=False)
class Video:
    """A video file, or a camera.

    Attributes:
        path: The file, or the number of the camera.
        name: File name, relative to the folder that was searched.
        rate: Frames per second.
        length: Number of frames as far as the file says it; None for a camera.
    """

    path: Path | int
    name: str
    rate: float = field(init=False)
    length: int | None = field(init=False)
    _fps: float | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        """Open it once.

        Raises:
            UserError: It cannot be read.
        """
        if isinstance(self.path, int):
            with self._camera() as capture:
                rate = capture.get(cv2.CAP_PROP_FPS)
            self.rate = rate if 0 < rate < 1000 else FRAME_RATE
            self.length = None
        else:
            self.resample(None)

    def open(self) -> VideoReader:
        """Return a reader of the file.

        Raises:
            UserError: It cannot be read.
        """
        from uniformer_mm.datasets.video_reader import VideoReader

        assert isinstance(self.path, Path), "cameras have no reader"
        return VideoReader(self.path, threads=0, fps=self._fps)

    def resample(self, fps: float | None) -> None:
        """Set the frames per second; cameras and None keep their own."""
        if not isinstance(self.path, int):
            self._fps = fps
            with self.open() as reader:
                self.rate, self.length = reader.rate, reader.length_estimate

    def images(self) -> Iterator[Image]:
        """Iterate over all frames, of a camera until the caller stops.

        Raises:
            UserError: None can be decoded.
        """
        if not isinstance(self.path, int):
            with self.open() as reader:
                yield from map(bgr_to_rgb, reader)
            return
        with self._camera() as capture:
            found, image = capture.read()
            if not found:
                raise self._no_camera()
            while found:
                yield image.astype(np.uint8, copy=False)
                found, image = capture.read()

    def frames(self) -> Iterator[Frame]:
        """Iterate over all frames with their numbers; see `images`."""
        for index, image in enumerate(self.images()):
            yield Frame(self.name, image, self, index)

    def clips(self, length: int | None) -> Iterator[Clip]:
        """Split the video into clips of `length` frames; None makes it one clip."""
        if length is None:
            yield Clip(self.name, self)
            return
        images, start = self.images(), 0
        while batch := list(islice(images, length)):
            yield Clip(self.name, self, np.stack(batch), start)
            start += length

    @contextmanager
    def _camera(self) -> Iterator[cv2.VideoCapture]:
        assert isinstance(self.path, int), "cameras are numbers"
        capture = cv2.VideoCapture(self.path)
        try:
            if not capture.isOpened():
                raise self._no_camera()
            yield capture
        finally:
            capture.release()

    def _no_camera(self) -> UserError:
        return UserError(f"camera {self.path} gives no frames: is it connected, and not in use?")


class FrameFolder(Video):
    """A folder of images that are the frames of a video.

    Args:
        path: The folder.
        name: Its name, relative to the folder that was searched.
        files: The frames in order.
        max_pixels: Limit above which a frame is not decoded.
    """

    def __init__(
        self, path: Path, name: str, files: Sequence[Path], max_pixels: int = MAX_PIXELS
    ) -> None:
        self.path = path
        self.name = name
        self.rate = FRAME_RATE
        self.length = len(files)
        self._files = files
        self._max_pixels = max_pixels
        self._shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._files)

    def resample(self, fps: float | None) -> None:
        """Keep the frames, which were extracted at the desired rate."""

    def open(self) -> FrameFolder:  # type: ignore[override]
        """Return the folder, which reads frames itself."""
        return self

    def __enter__(self) -> FrameFolder:
        """Return the folder."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no file is open."""

    def read(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return frames (N, H, W, 3), RGB, by their numbers.

        Raises:
            UserError: One cannot be read, or its size differs from those before.
        """
        frames = {int(i): bgr_to_rgb(self._read(self._files[i])) for i in dict.fromkeys(indices)}
        return np.stack([frames[int(index)] for index in indices])

    def images(self) -> Iterator[Image]:
        """Iterate over all frames."""
        return map(self._read, self._files)

    def _read(self, path: Path) -> Image:
        image = read_image(path, self._max_pixels)
        if self._shape not in (None, image.shape):
            raise UserError(
                f"{printable(str(path))} has another size than the frames before it: the frames of"
                " a video need the same size"
            )
        self._shape = image.shape
        return image


def bgr_to_rgb(image: Image) -> Image:
    """Convert an image from BGR to RGB, or back."""
    return np.ascontiguousarray(image[..., ::-1])


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image file.

    Args:
        path: The file.
        max_pixels: Limit above which it is not decoded: a small file may state any size.

    Raises:
        UserError: The file does not exist, is not an image, or is too large.
    """
    name = printable(str(path))
    with open_regular(path) as file:
        pixels = count_pixels(file)
        if pixels and pixels > max_pixels:
            raise UserError(
                f"{name} is not decoded: it has {pixels} pixels, and the limit is {max_pixels}."
                " Raise it with --max-pixels, in Python with Inferencer(max_pixels=...)"
            )
        file.seek(0)
        content = file.read()
    try:
        buffer = np.frombuffer(content, np.uint8)
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:  # limits of its own
        reason = " ".join(str(error.err or error).split())
        raise UserError(f"{name} cannot be read by OpenCV: {reason}") from error
    if image is not None:
        return image.astype(np.uint8, copy=False)
    if not content:
        reason = "the file is empty"
    elif pixels is not None:
        reason = "it starts like an image, but it is truncated or damaged"
    elif b"<svg" in content[:1000]:
        reason = "it is an SVG drawing, which has no pixels: export it as PNG"
    else:
        reason = "it is not an image in a format of OpenCV's"
    raise UserError(f"{name} cannot be read: {reason}")


def count_pixels(file: BinaryIO, formats: tuple[str, ...] | None = None) -> int | None:
    """Return the pixels that the header of an image states; None if Pillow finds no image.

    Args:
        file: Read from its current position.
        formats: Pillow's names of the formats to try; all by default.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about large images: the limit here is the caller's
        try:
            with PillowImage.open(file, formats=formats) as image:
                return image.width * image.height
        except PillowImage.DecompressionBombError as error:  # the same, as an error
            pixels = re.search(r"\d+", str(error))
            return int(pixels[0]) if pixels else None
        except Exception:  # damaged headers raise many types; OpenCV decides
            return None


def write_image(path: Path, image: Image) -> None:
    """Write an image file; create folders as needed.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    try:
        encoded, content = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise UserError(f"{path}: OpenCV has no such image format; take .png or .jpg") from error
    if not encoded:
        height, width = image.shape[:2]
        raise UserError(f"{path}: OpenCV cannot write {width} x {height} pixels as {path.suffix}")
    write_whole(path, content.tobytes())


class VideoWriter:
    """Write frames of one size to a video file, *.mp4 or *.webm.

    Args:
        path: The file; folders are created as needed.
        rate: Frames per second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        if path.suffix not in CODECS:
            raise UserError(f"{path}: videos are written as {' or '.join(CODECS)}")
        self.path = path
        self.rate = rate
        self._partial = partial_path(path)
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> VideoWriter:
        """Return the writer; the file is created by the first frame."""
        return self

    def __exit__(self, *_: object) -> None:
        """Complete the file."""
        self.close()

    def write(self, image: Image) -> None:
        """Append a frame.

        Raises:
            UserError: The file cannot be written.
        """
        from uniformer_mm.datasets.video_reader import av  # which says how to install it

        # Chroma is stored at half the resolution.
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        try:
            if self._container is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._container = av.open(str(self._partial), "w", format=self.path.suffix[1:])
                codec, options = CODECS[self.path.suffix]
                rate = Fraction(self.rate).limit_denominator(1001)
                self._stream = self._container.add_stream(codec, rate=rate, options=options)
                self._stream.height, self._stream.width = image.shape[:2]
                self._stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Complete the file and give it its name.

        Raises:
            UserError: The file cannot be written.
        """
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self._stream is not None:
                container.mux(self._stream.encode(None))
            container.close()
            self._partial.replace(self.path)
        except OSError as error:
            self._partial.unlink(missing_ok=True)
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error


def _evenly_spaced(length: int, count: int) -> NDArray[np.int64]:
    return np.linspace(0, length - 1, min(count, length)).astype(np.int64)
