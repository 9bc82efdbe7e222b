"""Images, videos and cameras: read and written with OpenCV and PyAV.

Images are arrays (H, W, 3), uint8, BGR, as OpenCV reads them and as MM's pipelines take them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
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
"""Pixels of the largest image that is decoded unless the user says otherwise: 0.8 GB."""

CODECS = {
    ".mp4": ("libx264", {"preset": "veryfast", "crf": "18"}),
    ".webm": ("libvpx", {"deadline": "realtime", "cpu-used": "4", "crf": "10", "b": "4M"}),
}
"""Encoders of FFmpeg, with their options, that players and browsers understand."""

FRAME_RATE = 25.0
"""Of cameras and of files that do not say theirs."""


@dataclass(frozen=True)
class Frame:
    """An image, by itself or out of a video.

    Attributes:
        name: File name, relative to the folder that was searched.
        image: (H, W, 3), BGR.
        video: Where it is from, if that is a video.
        index: Its number in the video, from 0.
        boxes: Where people are, (N, 4) as x1, y1, x2, y2 in pixels; for pose estimation.
    """

    name: str
    image: Image
    video: Video | None = None
    index: int | None = None
    boxes: NDArray[np.float32] | None = None

    @property
    def position(self) -> dict[str, Any]:
        """Which frame it is."""
        return {} if self.index is None else {"frame": self.index}


@dataclass(frozen=True)
class Clip:
    """A video, or a part of one, that a recogniser looks at as a whole.

    Attributes:
        name: File name, relative to the folder that was searched.
        video: Where it is from.
        images: Its frames (T, H, W, 3), BGR; None for all of a video file.
        start: Number of the first frame in the video.
    """

    name: str
    video: Video | None = None
    images: NDArray[np.uint8] | None = None
    start: int = 0

    @property
    def position(self) -> dict[str, Any]:
        """Which frames they are, the last one included."""
        if self.video is None or self.images is None:
            return {}
        return {"frames": [self.start, self.start + len(self.images) - 1]}

    def frames(self) -> Iterator[Image]:
        """All frames."""
        if self.images is None and self.video is not None:
            return self.video.images()
        return iter(() if self.images is None else self.images)

    def glimpses(self, count: int) -> NDArray[np.uint8]:
        """So many frames (T, H, W, 3) at most, evenly spread."""
        if self.images is None and self.video is not None:
            with self.video.open() as reader:
                return reader.read(_spread(len(reader), count))[..., ::-1]
        assert self.images is not None, "a clip has a video or images"
        return self.images[_spread(len(self.images), count)]


@dataclass(frozen=True)
class ImageFile:
    """An image file.

    Attributes:
        path: The file.
        name: File name, relative to the folder that was searched.
        max_pixels: Pixels from which on it is not decoded.
    """

    path: Path
    name: str
    max_pixels: int = MAX_PIXELS

    def frames(self) -> Iterator[Frame]:
        """The image."""
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
        """Look into the file.

        Raises:
            UserError: It cannot be read.
        """
        if isinstance(self.path, int):
            with self._camera() as capture:
                rate = capture.get(cv2.CAP_PROP_FPS)
            self.rate = rate if 0 < rate < 1000 else FRAME_RATE
            self.length = None
        else:
            with self.open() as reader:
                self.rate, self.length = reader.rate, reader.length_estimate

    def open(self) -> VideoReader:
        """A reader of the file.

        Raises:
            UserError: It cannot be read.
        """
        from uniformer_mm.datasets.video_reader import VideoReader

        assert isinstance(self.path, Path), "cameras have no reader"
        return VideoReader(self.path, threads=0, fps=self._fps)

    def resample(self, fps: float) -> None:
        """Give so many frames per second from now on; cameras stay as they are."""
        if not isinstance(self.path, int):
            self._fps = fps
            with self.open() as reader:
                self.rate, self.length = reader.rate, reader.length_estimate

    def images(self) -> Iterator[Image]:
        """All frames; those of a camera until the consumer stops.

        Raises:
            UserError: None can be decoded.
        """
        if not isinstance(self.path, int):
            with self.open() as reader:
                yield from (swapped(image) for image in reader)
            return
        with self._camera() as capture:
            found, image = capture.read()
            if not found:
                raise self._no_camera()
            while found:
                yield image.astype(np.uint8, copy=False)
                found, image = capture.read()

    def frames(self) -> Iterator[Frame]:
        """All frames with their numbers.

        Raises:
            UserError: None can be decoded.
        """
        for index, image in enumerate(self.images()):
            yield Frame(self.name, image, self, index)

    def clips(self, length: int | None) -> Iterator[Clip]:
        """The whole as one clip, or one after every so many frames."""
        if length is None:
            yield Clip(self.name, self)
            return
        images: list[Image] = []
        start = 0
        for image in self.images():
            images.append(image)
            if len(images) == length:
                yield Clip(self.name, self, np.stack(images), start)
                start += length
                images = []
        if images:
            yield Clip(self.name, self, np.stack(images), start)

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
        return UserError(f"camera {self.path} gives no pictures: is it there, and free?")


class FrameFolder(Video):
    """A folder of images that are the frames of a video.

    Args:
        path: The folder.
        name: Its name, relative to the folder that was searched.
        files: The frames in their order.
        max_pixels: Pixels from which on one is not decoded.
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
        """How many frames there are."""
        return len(self._files)

    def resample(self, fps: float) -> None:
        """Nothing: the frames were extracted as they are wanted."""

    def open(self) -> FrameFolder:  # type: ignore[override]
        """A reader of the frames: the folder itself."""
        return self

    def __enter__(self) -> FrameFolder:
        """Nothing: files are opened when they are read."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""

    def read(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Frames (N, H, W, 3), RGB, in the order of their numbers.

        Raises:
            UserError: One cannot be read, or is of another size than those before.
        """
        frames = {int(i): swapped(self._read(self._files[i])) for i in dict.fromkeys(indices)}
        return np.stack([frames[int(index)] for index in indices])

    def images(self) -> Iterator[Image]:
        """All frames."""
        return map(self._read, self._files)

    def _read(self, path: Path) -> Image:
        image = read_image(path, self._max_pixels)
        if self._shape not in (None, image.shape):
            raise UserError(
                f"{printable(str(path))} is another size than the frames before it: frames of a"
                " video have one size"
            )
        self._shape = image.shape
        return image


def swapped(image: Image) -> Image:
    """An image with red and blue exchanged: from BGR to RGB, or back."""
    return np.ascontiguousarray(image[..., ::-1])


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Image:
    """An image file.

    Args:
        path: The file.
        max_pixels: Pixels from which on it is not decoded: what a header states costs nothing to
            write, but its pixels need memory.

    Raises:
        UserError: There is no such file, it is not an image, or it is too large.
    """
    with open_regular(path) as file:
        pixels = count_pixels(file)
        if pixels and pixels > max_pixels:
            raise UserError(
                f"{printable(str(path))} is not decoded: it has {pixels} pixels, and the limit is"
                f" {max_pixels}. Raise it with --max-pixels, in Python with"
                " Inferencer(max_pixels=...)"
            )
        file.seek(0)
        content = file.read()
    try:
        buffer = np.frombuffer(content, np.uint8)
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:  # its own limits
        reason = " ".join(str(error.err or error).split())
        raise UserError(f"{printable(str(path))} cannot be read by OpenCV: {reason}") from error
    if image is None:
        raise UserError(f"{printable(str(path))} cannot be read: {_why_no_image(content, pixels)}")
    return image.astype(np.uint8, copy=False)


def count_pixels(file: BinaryIO, formats: tuple[str, ...] | None = None) -> int | None:
    """Pixels that the header of an image states; None if it is not an image for Pillow.

    Args:
        file: Read from its present position.
        formats: Pillow's names of those to try; all by default.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images: the limit here is the caller's
        try:
            with PillowImage.open(file, formats=formats) as image:
                return image.width * image.height
        except PillowImage.DecompressionBombError as error:  # its limit, not the caller's
            pixels = re.search(r"\d+", str(error))
            return int(pixels[0]) if pixels else None
        except Exception:  # damaged headers fail in many ways; OpenCV has the last word
            return None


def _why_no_image(content: bytes, pixels: int | None) -> str:
    """Why OpenCV does not decode a file."""
    if not content:
        return "it is empty"
    if pixels is not None:
        return "it begins like an image, but it is truncated or damaged"
    if b"<svg" in content[:1000]:
        return "it is an SVG drawing, which has no pixels: export it as PNG"
    return "it is not an image that OpenCV knows"


def write_image(path: Path, image: Image) -> None:
    """Write an image file and the folders above it.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    try:
        encoded, content = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise UserError(
            f"{path}: pictures are written as .png, .jpg or what else OpenCV knows"
        ) from error
    if not encoded:
        height, width = image.shape[:2]
        raise UserError(f"{path}: OpenCV cannot write {width} x {height} pixels as {path.suffix}")
    write_whole(path, content.tobytes())


class VideoWriter:
    """Writes frames of one size into a video file, *.mp4 or *.webm.

    Args:
        path: The file; folders above it are made.
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
        """Nothing yet: the first frame says the size."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file."""
        self.close()

    def write(self, image: Image) -> None:
        """Append a frame.

        Raises:
            UserError: The file cannot be written.
        """
        from uniformer_mm.datasets.video_reader import av  # which says how to install it

        # Colours are stored at half the resolution.
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        try:
            if self._container is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._container = av.open(str(self._partial), "w", format=self.path.suffix[1:])
                self._start(image.shape[1], image.shape[0])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error

    def _start(self, width: int, height: int) -> None:
        codec, options = CODECS[self.path.suffix]
        rate = Fraction(self.rate).limit_denominator(1001)
        self._stream = self._container.add_stream(codec, rate=rate, options=options)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"

    def close(self) -> None:
        """Complete the file, and give it its name."""
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


def _spread(length: int, count: int) -> NDArray[np.int64]:
    """Numbers of `count` frames at most, evenly spread."""
    return np.linspace(0, length - 1, min(count, length)).astype(np.int64)
