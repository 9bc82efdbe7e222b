"""Images, videos and cameras: found, read and written with OpenCV.

Images are arrays (H, W, 3), uint8, BGR, as OpenCV reads them and as MM's pipelines take them.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.checkpoints.writing import write_whole
from uniformer_mm.errors import UserError

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"))
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".gif")
)

CODECS = {".mp4": "mp4v", ".webm": "VP80"}
"""What the OpenCV of pip can write: MPEG-4 for players, VP8 for browsers; it has no H.264."""

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
    video: "Video | None" = None
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
    video: "Video | None" = None
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
        length = (self.video and self.video.length) or 1
        length = length if self.images is None else len(self.images)
        chosen = set(np.linspace(0, length - 1, min(count, length)).astype(int).tolist())
        return np.stack([image for index, image in enumerate(self.frames()) if index in chosen])


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
        capture = self._open()
        rate = capture.get(cv2.CAP_PROP_FPS)
        length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        self.rate = rate if 0 < rate < 1000 else FRAME_RATE
        self.length = None if isinstance(self.path, int) else max(length, 1)

    def images(self) -> Iterator[Image]:
        """All frames; those of a camera until the consumer stops."""
        capture = self._open()
        try:
            while True:
                found, image = capture.read()
                if not found:
                    return
                yield image.astype(np.uint8, copy=False)
        finally:
            capture.release()

    def frames(self) -> Iterator[Frame]:
        """All frames with their numbers.

        Raises:
            UserError: None can be decoded.
        """
        index = -1
        for index, image in enumerate(self.images()):
            yield Frame(self.name, image, self, index)
        if index < 0:
            raise self._unreadable()

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

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path) if isinstance(self.path, Path) else self.path)
        if not capture.isOpened():
            raise self._unreadable()
        return capture

    def _unreadable(self) -> UserError:
        if isinstance(self.path, int):
            return UserError(f"camera {self.path} gives no pictures: is it there, and free?")
        return UserError(
            f"{self.path} cannot be read: it is damaged, or neither an image nor a video that"
            " OpenCV knows"
        )


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
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> "VideoWriter":
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
        # Both codecs store colours at half the resolution.
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        if self._writer is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"cannot write {self.path}: {error.strerror}") from error
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix])
            size = (image.shape[1], image.shape[0])
            self._writer = cv2.VideoWriter(str(self.path), codec, self.rate, size)
            if not self._writer.isOpened():
                raise UserError(f"cannot write {self.path}: no right to, or no codec for it")
        self._writer.write(np.ascontiguousarray(image))

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.release()


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
