"""Read the frames of videos by number, exactly as FFmpeg shows them, with PyAV."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from itertools import dropwhile, groupby, pairwise
from math import floor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.video_faults import check_complete, read_head, why_not_opened
from uniformer_mm.errors import UserError, printable

try:
    import av
    from av.codec.context import Flags, ThreadType
    from av.stream import Discard, Disposition
    from av.video.reformatter import Interpolation, VideoReformatter
except ImportError as error:
    raise UserError("videos are read with PyAV: pip install 'av>=17.1'") from error

FRAME_RATE = Fraction(25)
"""Frames per second of a file that does not state its rate."""

INDEXED_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""FFmpeg's names of containers that store and seek by the timestamp of each frame."""

INDEXED_CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg", "prores", "dnxhd", "ffv1")
"""Codecs whose packets are frames."""

NOT_CODED = 16
"""Bytes up to which an MPEG-4 packet may be a placeholder without a frame."""

PROBED = 2
"""Packets that are decoded to check that each is a frame; interlaced ones may be halves."""

KEPT_BYTES = 2**26
"""Decoded frames that are kept where counting the frames requires decoding them."""

SEEK_COST = 4
"""Frames that are decoded in the time of a seek."""

UNDECODABLE = "none of its frames can be decoded: it is damaged, or encrypted"
REENCODE = "ffmpeg -i {} -c:v libx264 -pix_fmt yuv420p -c:a copy NEW.mp4"

METADATA_OPTIONS: dict[str, Any] = (
    {"metadata_errors": "ignore"} if int(av.__version__.split(".", 1)[0]) < 19 else {}
)
"""Metadata that are not UTF-8 are no error. PyAV 19 does not have the option."""


class VideoReader:
    """Frames of a video by number, in the order and orientation in which FFmpeg shows them.

    Containers that store timestamps are indexed from their packets, without decoding. Reading seeks
    to the keyframe before a frame and decodes from there. If the timestamps of decoded frames
    differ from the index, and in other containers (AVI, MPEG program and transport streams, WMV,
    GIF), the file is decoded in order from its start, which gives the same frames. A frame that is
    too damaged to decode shows the one before it.

    Args:
        source: Path, or an open binary file. It stays open until the reader is closed or deleted.
        threads: Number of decoding threads; 0 lets FFmpeg choose. Workers of a data loader, which
            share the cores, need one.
        fps: Frames per second to resample to, by repeating and dropping frames as FFmpeg's filter
            `fps` does.
        name: Name of the source in errors; its path by default.

    Attributes:
        rate: Frames per second that the file states, or `fps`.
        length_estimate: Number of frames that the file states, at least 1.

    Raises:
        UserError: The file cannot be read, with the reason.
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        *,
        threads: int = 1,
        fps: float | None = None,
        name: str | None = None,
    ) -> None:
        if fps is not None and not 0 < fps < 1000:
            raise UserError(f"fps: frames per second are between 0 and 1000, not {fps}")
        self._source = str(source) if isinstance(source, Path) else source
        self._name = printable(name or str(source))
        self._threads = threads
        self._resampled = None if fps is None else Fraction(fps).limit_denominator(1001)
        self._reformatter = VideoReformatter()
        self._keys: list[int] = []
        self._key_numbers: list[int] = []
        self._positions: Sequence[int] | None = None
        self._kept: list[av.VideoFrame] = []
        self._first: av.VideoFrame | None = None
        self._last: av.VideoFrame | None = None
        self._last_duration = 0
        self._decoder: Iterator[av.VideoFrame] | None = None
        self._next = 0
        with self._named_errors():
            check_complete(self._name, self._source)
            try:
                self._open()
            except av.InvalidDataError as error:
                reason = why_not_opened(read_head(self._source))
                raise UserError(self._unreadable(reason)) from error
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(0)
        self._stated_rate = rate if 0 < rate < 1000 else FRAME_RATE
        self.rate = float(fps or self._stated_rate)
        self.length_estimate = self._estimate_length()

    def __enter__(self) -> VideoReader:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._numbers)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return a frame (H, W, 3), RGB; see `read`."""
        return self.read([index])[0]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Iterate over all frames (H, W, 3), RGB, each decoded once."""
        if self._index or self._resampled is not None:
            yield from (self[number] for number in range(len(self)))
            return
        number = 0
        while True:  # counting them first would require decoding them
            with self._named_errors():
                frame = self._decode_in_order(number)
                if frame is None:
                    break
                image = self._image_of(frame)
            yield image
            number += 1
        if not number:
            raise UserError(self._unreadable(UNDECODABLE))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of upright frames, in pixels."""
        first = self._first_frame()
        turned = self._orientation.transpose
        return (first.height, first.width) if turned else (first.width, first.height)

    @property
    def rotation(self) -> int:
        """Counterclockwise rotation of stored frames in degrees: 0, 90, 180 or 270."""
        return round(self._first_frame().rotation / 90) * 90 % 360

    @property
    def fps(self) -> float:
        """Mean number of frames per second."""
        if self._resampled is not None:
            return self.rate
        counted = float(len(self) / (self._times[-1] + self._last_interval()))
        # Timestamps in milliseconds approximate the exact rate of the container.
        return self.rate if abs(counted / self.rate - 1) < 0.01 else counted

    @cached_property
    def timestamps(self) -> NDArray[np.float64]:
        """Seconds (N,) at which the frames are shown, relative to the first."""
        if self._resampled is not None:
            return np.arange(len(self)) / float(self._resampled)
        return np.array([float(time) for time in self._times])

    def read(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return frames in any order; each is decoded once.

        Args:
            indices: N frame numbers in any order and shape; negative ones count from the end.

        Returns:
            Frames (N, H, W, 3), RGB, upright.

        Raises:
            IndexError: A frame does not exist.
            UserError: The file cannot be decoded.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        beyond = wanted[(wanted < -len(self)) | (wanted >= len(self))]
        if beyond.size:
            raise IndexError(f"{self._name} has {len(self)} frames: no frame {beyond[0]}")
        numbers = [self._numbers[index] for index in wanted]
        width, height = self.size
        images = np.empty((len(numbers), height, width, 3), np.uint8)
        in_order = sorted(range(len(numbers)), key=numbers.__getitem__)
        with self._named_errors():
            for number, places in groupby(in_order, key=numbers.__getitem__):
                images[list(places)] = self._image_of(self._frame(number))
        return images

    def close(self) -> None:
        """Close the file."""
        self._decoder, self._kept = None, []
        self._container.close()

    # ------------------------------------------------------------------------------------- index

    @cached_property
    def _numbers(self) -> Sequence[int]:
        """Number of the stored frame for each frame of the reader."""
        if self._resampled is None:
            return range(len(self._stamps))
        start = Fraction(self._container.start_time or 0, av.time_base)
        delay = max((self._stamps[0] or 0) * self._time_base - start, Fraction(0))
        ends = [*self._times, self._times[-1] + self._last_interval()]
        *ticks, end = [floor((delay + time) * self._resampled + Fraction(1, 2)) for time in ends]
        # The last of the frames that are rounded to the same tick is shown.
        return [bisect_right(ticks, tick) - 1 for tick in range(ticks[0], max(end, ticks[0] + 1))]

    @cached_property
    def _times(self) -> list[Fraction]:
        """Seconds relative to the first frame; evenly spaced where timestamps are not in order."""
        stamps = self._stamps
        if None in stamps or any(later <= earlier for earlier, later in pairwise(stamps)):
            return [number / self._stated_rate for number in range(len(stamps))]
        return [(stamp - stamps[0]) * self._time_base for stamp in stamps]

    def _last_interval(self) -> Fraction:
        """Return the seconds for which the last frame is shown."""
        if self._last_duration:
            return self._last_duration * self._time_base
        return self._times[-1] - self._times[-2] if len(self._times) > 1 else 1 / self._stated_rate

    @cached_property
    def _stamps(self) -> list[Any]:
        """Timestamps of all frames, in the order of presentation."""
        if self._index:
            return self._index
        with self._named_errors():
            return self._decode_all()

    @cached_property
    def _index(self) -> list[int]:
        """Timestamps of the packets; empty where they are not reliable."""
        codec = self._stream.codec_context.codec.canonical_name
        if self._container.format.name not in INDEXED_FORMATS or codec not in INDEXED_CODECS:
            return []
        with self._named_errors():
            entries = [_Entry.of(packet, codec) for packet in self._packets()]
            shown = {entry.stamp: entry for entry in entries if entry.is_shown}
            if not shown or any(entry.stamp is None or entry.may_be_empty for entry in entries):
                return []
            stamps = sorted(shown)
            self._keys = sorted({entry.stamp for entry in entries if entry.is_key})
            self._key_numbers = [bisect_left(stamps, key) for key in self._keys]
            is_unique = len(shown) == sum(entry.is_shown for entry in entries)
            starts_with_key = entries[0].is_key and entries[0].stamp <= stamps[0]
            if not is_unique or not starts_with_key or not self._probe(shown):
                return []
        self._last_duration = shown[stamps[-1]].duration
        return stamps

    def _probe(self, shown: dict[int, _Entry]) -> bool:
        """Whether each of the first packets gives a frame."""
        fed: list[int] = []
        frames: list[av.VideoFrame] = []
        try:
            self._container.seek(self._keys[0], stream=self._stream)
            for packet in self._packets():
                frames += packet.decode()
                fed += [packet.pts] if packet.pts in shown else []
                if len(fed) == PROBED:
                    break
            frames += self._stream.decode(None)
        except av.FFmpegError:
            return False
        self._first = frames[0] if frames else None
        return [frame.pts for frame in frames] == sorted(fed)

    # ---------------------------------------------------------------------------------- decoding

    def _frame(self, number: int) -> av.VideoFrame:
        """Return a stored frame."""
        if self._index and self._positions is None:
            frame = self._decode_from_key(number)
            if frame is not None:
                return frame
            self._positions = self._positions_in_order()
        position = number if self._positions is None else self._positions[number]
        frame = (
            self._kept[position] if position < len(self._kept) else self._decode_in_order(position)
        )
        if frame is None:
            raise UserError(self._unreadable(UNDECODABLE))
        return frame

    def _decode_from_key(self, number: int) -> av.VideoFrame | None:
        """Decode a frame from the keyframe before it; None if decoding disagrees with the index."""
        which = bisect_right(self._key_numbers, number) - 1
        key, start = self._keys[which], self._key_numbers[which]
        if self._decoder is None or not start - SEEK_COST <= self._next <= number + 1:
            try:
                self._container.seek(key, stream=self._stream)
            except av.FFmpegError:
                return None
            # Frames shown before a keyframe but stored after it depend on earlier frames.
            self._decoder = dropwhile(lambda frame: (frame.pts or 0) < key, self._decode())
            self._next = start
        while self._next <= number:
            self._last = next(self._decoder, None)
            if self._last is None or self._last.is_corrupt:
                return None
            if self._last.pts != self._index[self._next]:
                return None
            self._next += 1
        return self._last

    def _positions_in_order(self) -> Sequence[int]:
        """Return, for each frame of the index, the one that decoding in order shows at its time."""
        times = [stamp for stamp in self._decode_all() if stamp is not None]
        if len(times) == len(self._index):
            return range(len(times))
        times.sort()
        return [max(bisect_right(times, stamp) - 1, 0) for stamp in self._index]

    def _decode_in_order(self, position: int) -> av.VideoFrame | None:
        """Decode a frame from the current position or the start of the file; None at the end."""
        if self._decoder is None or position < self._next - 1:
            self._open()
            self._decoder, self._next = self._decode(), 0
        while self._next <= position:
            self._last = next(self._decoder, None)
            if self._last is None:
                self._decoder = None
                return None
            self._next += 1
        return self._last

    def _decode_all(self) -> list[Any]:
        """Return the timestamps of all frames and keep the first ones.

        Raises:
            UserError: No frame can be decoded.
        """
        self._open()
        self._kept, stamps, size = [], [], 0
        for frame in self._decode():
            stamps.append(frame.pts)
            self._last_duration = frame.duration or 0
            size += sum(plane.buffer_size for plane in frame.planes)
            if size <= KEPT_BYTES:
                self._kept.append(frame)
        self._decoder = None
        if not stamps:
            raise UserError(self._unreadable(UNDECODABLE))
        return stamps

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Decode frames from the current position of the container."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:  # a damaged packet only loses its own frame, as in FFmpeg
                continue
            self._first = self._first or next(iter(frames), None)
            yield from frames
        yield from self._stream.decode(None)

    def _packets(self) -> Iterator[av.Packet[Any]]:
        try:
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)
        except av.InvalidDataError:  # a damaged end, which FFmpeg drops, too
            return

    # ------------------------------------------------------------------------------------- opening

    def _open(self) -> None:
        """Open the container and select the stream.

        Raises:
            UserError: There is no video stream, or no decoder for it.
        """
        if not isinstance(self._source, str):
            self._source.seek(0)
        self._container: Any = av.open(self._source, **METADATA_OPTIONS)
        others = {stream.type for stream in self._container.streams}
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic  # the cover of an audio file
        ]
        if not streams:
            raise UserError(self._unreadable(f"it has no video, only {' and '.join(others)}"))
        if any(stream.codec_context is None for stream in streams):
            raise UserError(
                self._unreadable(f"FFmpeg has no decoder here for its codec, {self._codec_name()}")
                + f". Re-encode it where there is one: {REENCODE.format(self._name)}"
            )
        # FFmpeg selects the largest of several.
        self._stream = max(streams, key=lambda stream: stream.width * stream.height)
        for stream in self._container.streams:
            if stream is not self._stream:
                stream.discard = Discard.all
        context = self._stream.codec_context
        context.thread_count = self._threads
        context.thread_type = ThreadType.AUTO
        context.flags |= Flags.output_corrupt  # as FFmpeg does
        self._time_base = self._stream.time_base or Fraction(1)
        self._decoder, self._next = None, 0

    def _codec_name(self) -> str:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            found = re.search(r"Video: ([^,\n]+)", self._container.dumps_format())
        finally:
            av.logging.set_level(level)
        return found[1] if found else "unknown"

    def _estimate_length(self) -> int:
        count: float = self._stream.frames
        if not count or self._resampled is not None:
            duration = self._stream.duration
            seconds = (
                float(duration * self._time_base)
                if duration is not None
                else (self._container.duration or 0) / av.time_base
            )
            count = seconds * self.rate
        return max(round(count), 1)

    # ------------------------------------------------------------------------------------ images

    def _first_frame(self) -> av.VideoFrame:
        """Return a frame that defines size and orientation."""
        if self._first is None:
            with self._named_errors():
                self._decode_in_order(0)
        if self._first is None:
            raise UserError(self._unreadable(UNDECODABLE))
        return self._first

    @cached_property
    def _orientation(self) -> Orientation:
        return Orientation.of(self._first_frame())

    def _image_of(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Convert a frame to an upright image (H, W, 3), RGB."""
        first = self._first_frame()
        converted = self._reformatter.reformat(
            frame,
            width=first.width,
            height=first.height,
            format="rgb24",
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )
        image: Any = converted.to_ndarray()
        return self._orientation.apply(image)

    # ------------------------------------------------------------------------------------ errors

    def _unreadable(self, reason: str) -> str:
        return f"{self._name} cannot be read: {reason}"

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise UserError(f"there is no video {self._name}") from error
        except (av.FFmpegError, OSError) as error:
            raise UserError(self._unreadable(error.strerror or str(error))) from error


class Orientation(NamedTuple):
    """Orientation of stored frames: transposed first, then mirrored."""

    transpose: bool
    mirror_x: bool
    mirror_y: bool

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """Round a frame's display matrix to the nearest quarter turn."""
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls(False, False, False)
        # A pixel x, y is shown at xx x + yx y, xy x + yy y.
        xx, xy, _, yx, yy, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
        if abs(xx) + abs(yy) < abs(xy) + abs(yx):
            return cls(True, yx < 0, xy < 0)
        return cls(False, xx < 0, yy < 0)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an upright view of an image (H, W, 3)."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


class _Entry(NamedTuple):
    """Facts of a packet.

    Attributes:
        stamp: Timestamp of its frame.
        duration: Duration of its frame.
        is_key: Whether decoding can start here.
        is_shown: Whether its frame is shown: neither hidden nor before the start of an edit list.
        may_be_empty: Whether it may have no frame.
    """

    stamp: Any
    duration: int
    is_key: bool
    is_shown: bool
    may_be_empty: bool

    @classmethod
    def of(cls, packet: av.Packet[Any], codec: str) -> _Entry:
        """Read them from a packet."""
        # Bit 4 of the first byte of VP8 (RFC 6386, section 9.1) marks frames that are shown.
        is_hidden = codec == "vp8" and not memoryview(packet)[0] & 0x10
        return cls(
            packet.pts,
            packet.duration or 0,
            packet.is_keyframe,
            not packet.is_discard and not is_hidden,
            codec == "mpeg4" and packet.size <= NOT_CODED,
        )
