"""Images, videos and cameras: read and written with OpenCV.

Images are arrays (H, W, 3), uint8, BGR, as OpenCV reads them and as MM's pipelines take them.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from uniformer_mm.checkpoints.writing import partial_path, write_whole
from uniformer_mm.errors import UserError, printable
from uniformer_mm.predictions.regular_files import open_regular

Image = NDArray[np.uint8]

MAX_PIXELS = 2**28
"""Pixels of the largest image that is decoded unless the user says otherwise: 0.8 GB."""

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
        try:
            str(self.path).encode()
        except UnicodeEncodeError as error:  # OpenCV would end the process
            raise UserError(
                f"{printable(str(self.path))} cannot be read by OpenCV: its name is not UTF-8."
                " Rename it"
            ) from error
        capture = cv2.VideoCapture(str(self.path) if isinstance(self.path, Path) else self.path)
        if not capture.isOpened():
            raise self._unreadable()
        return capture

    def _unreadable(self) -> UserError:
        if isinstance(self.path, int):
            return UserError(f"camera {self.path} gives no pictures: is it there, and free?")
        return UserError(
            f"{printable(str(self.path))} cannot be read: it is damaged, or neither an image nor a"
            " video that OpenCV knows"
        )


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

    def __getitem__(self, index: int) -> Image:
        """One frame (H, W, 3), RGB.

        Raises:
            UserError: It cannot be read, or is of another size than the one before.
        """
        return swapped(self._read(self._files[index]))

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
        # OpenCV takes the container from the suffix.
        self._partial = Path(f"{partial_path(path)}{path.suffix}")
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
            self._writer = cv2.VideoWriter(str(self._partial), codec, self.rate, size)
            if not self._writer.isOpened():
                raise UserError(f"cannot write {self.path}: no right to, or no codec for it")
        self._writer.write(np.ascontiguousarray(image))

    def close(self) -> None:
        """Complete the file, and give it its name."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            try:
                self._partial.replace(self.path)
            except OSError as error:
                raise UserError(f"cannot write {self.path}: {error.strerror}") from error
