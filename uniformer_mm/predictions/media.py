"""Images, videos and cameras: found, read and written with OpenCV and PyAV.

Images are arrays (H, W, 3), uint8, BGR, as OpenCV reads them and as MM's pipelines take them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.checkpoints.writing import write_whole
from uniformer_mm.errors import UserError

if TYPE_CHECKING:
    from uniformer_mm.datasets.video_reader import VideoReader

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"))
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".gif")
)

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
    """An image file."""

    path: Path
    name: str

    def frames(self) -> Iterator[Frame]:
        """The image."""
        yield Frame(self.name, read_image(self.path))


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
        return VideoReader(self.path, threads=0)

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


def swapped(image: Image) -> Image:
    """An image with red and blue exchanged: from BGR to RGB, or back."""
    return np.ascontiguousarray(image[..., ::-1])


def read_image(path: str | Path) -> Image:
    """An image file.

    Raises:
        UserError: There is no such file, or it is not an image.
    """
    try:
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise UserError(f"{path} cannot be read: it is damaged, or not an image")
    return image.astype(np.uint8, copy=False)


def write_image(path: Path, image: Image) -> None:
    """Write an image file and the folders above it.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    try:
        content = cv2.imencode(path.suffix, image)[1]
    except cv2.error as error:
        raise UserError(
            f"{path}: pictures are written as .png, .jpg or what else OpenCV knows"
        ) from error
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
                self._container = av.open(str(self.path), "w")
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
        """Complete the file."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None


def find_sources(
    paths: Sequence[str | Path | int], videos_only: bool = False
) -> list[ImageFile | Video]:
    """Images, videos and cameras.

    Args:
        paths: Files, folders (with those below them) and numbers of cameras.
        videos_only: Leave images in folders out, and refuse others.

    Returns:
        One for each file and camera, by name within a folder. Two of one name are told apart by the
        folders above them.

    Raises:
        UserError: There is no such file, nothing in a folder, or it cannot be read.
    """
    cameras: dict[int, str] = {}
    files: dict[Path, str] = {}
    for entry in paths:
        path = Path(str(entry))
        if str(entry).isdecimal():
            cameras[int(str(entry))] = f"camera_{entry}"
        elif path.is_dir():
            inside = _files_below(path, videos_only)
            files.update((file, file.relative_to(path).as_posix()) for file in inside)
        elif not path.is_file():
            raise UserError(f"no file or folder {path}")
        elif videos_only and is_image(path):
            raise UserError(f"{path} is an image, and the model looks at videos")
        else:
            files[path] = path.name
    if len(set(files.values())) < len(files):
        absolute = {path: os.path.abspath(path) for path in files}
        root = os.path.commonpath(list(absolute.values()))
        files = {path: Path(absolute[path]).relative_to(root).as_posix() for path in files}
    return [Video(number, name) for number, name in cameras.items()] + [
        ImageFile(path, name) if is_image(path) else Video(path, name)
        for path, name in files.items()
    ]


def _spread(length: int, count: int) -> NDArray[np.int64]:
    """Numbers of `count` frames at most, evenly spread."""
    return np.linspace(0, length - 1, min(count, length)).astype(np.int64)


def is_image(path: str | Path) -> bool:
    """Whether a file is an image by its name or its first bytes, rather than a video."""
    suffix = Path(path).suffix.lower()
    known = suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES
    return suffix in IMAGE_SUFFIXES if known else cv2.haveImageReader(str(path))


def _files_below(folder: Path, videos_only: bool) -> list[Path]:
    suffixes = VIDEO_SUFFIXES if videos_only else IMAGE_SUFFIXES | VIDEO_SUFFIXES
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes]
    if not files:
        wanted = "video" if videos_only else "image or video"
        raise UserError(f"no {wanted} in {folder}: known are {', '.join(sorted(suffixes))}")
    return files
