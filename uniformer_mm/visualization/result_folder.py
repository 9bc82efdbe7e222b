"""A run's predictions on disk."""

import hashlib
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from uniformer_mm.datasets.media import Clip, ImageFile, Video, VideoWriter
from uniformer_mm.errors import UserError
from uniformer_mm.visualization.label_map import LabelMap
from uniformer_mm.visualization.prediction import Prediction, dump_line, write_json

JSON_NAME = "predictions.json"

LONGEST_NAME = 255
"""Bytes of a file name on most file systems."""

RESERVED = len(".mp4")
"""Bytes of a name that the suffix of a result takes."""


class PredictionFolder:
    """Takes predictions in their order and writes them below a folder.

    - `predictions.json`: all of them, objects and persons in COCO's format, when the run ends;
      until then, and after a run that was killed, each is a line of `predictions-*.jsonl`;
    - `pictures/NAME.png`, of a video or camera `pictures/NAME.mp4`;
    - `labels/NAME.png`, of a video `labels/NAME/000000.png`: the classes of pixels.

    Args:
        path: The folder; files of the same names in it are replaced.
        prediction_type: What is predicted.
        meta: Of the model's dataset.
        sources: All that will be looked at, for their names.
    """

    def __init__(
        self,
        path: Path,
        prediction_type: type[Prediction],
        meta: Mapping[str, Any],
        sources: Iterable[ImageFile | Video],
    ) -> None:
        self.path = path
        self._categories = prediction_type.categories(meta)
        self._stems = stems_of([source.name for source in sources])
        self._lines = JsonLines(path / f"predictions-{os.getpid()}-{secrets.token_hex(2)}.jsonl")
        self._video: Video | None = None
        self._writer: VideoWriter | None = None
        self._begin = 0.0
        self._written = 0

    def __enter__(self) -> "PredictionFolder":
        """The folder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the video and write what there is, also if the run was broken off."""
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            if len(self) or kind is None:
                write_json(self.path / JSON_NAME, self._lines, self._categories)
            self._lines.delete()

    def __len__(self) -> int:
        """How many predictions there are."""
        return len(self._lines)

    def add(self, prediction: Prediction) -> None:
        """Write the data and the picture of a prediction.

        Raises:
            UserError: A file cannot be written.
        """
        self._lines.append(prediction.to_dict())
        source = prediction.source
        stem = self._stems[source.name]
        if source.video is None:
            prediction.save(self.path / "pictures" / f"{stem}.png")
        else:
            self._append(prediction, stem)
        if isinstance(prediction, LabelMap):
            name = stem if source.index is None else f"{stem}/{source.index:06d}"
            prediction.save_labels(self.path / "labels" / f"{name}.png")

    def _append(self, prediction: Prediction, stem: str) -> None:
        """Frames to the video of their source, which a new source ends."""
        source = prediction.source
        if self._writer is None or source.video is not self._video:
            if self._writer is not None:
                self._writer.close()
            self._video = source.video
            self._writer = VideoWriter(self.path / "pictures" / f"{stem}.mp4", source.video.rate)
            self._begin, self._written = time.monotonic(), 0
        frames = source.frames() if isinstance(source, Clip) else [source.image]
        for frame in frames:
            picture = prediction.draw_on(frame)
            for _ in range(self._repetitions(source)):
                self._writer.write(picture)
                self._written += 1

    def _repetitions(self, source: Any) -> int:
        """How often a frame is written: a camera does not wait for predictions, nor do they for it.

        What it showed meanwhile is made up for, so that the film takes as long as the run did.
        """
        if isinstance(source, Clip) or source.video.length is not None:
            return 1
        due = 1 + round((time.monotonic() - self._begin) * source.video.rate)
        return max(due - self._written, 0)


def check_unused(path: Path) -> None:
    """Look whether a folder is new or empty.

    Raises:
        UserError: It is not.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path} is there and not empty: choose another --out, or add --overwrite to replace"
            " what has the same name in it"
        )


class JsonLines(Iterable[dict[str, Any]]):
    """Data in a file, one entry a line, each of which is on its way to the disk when it is added.

    Args:
        path: The file, which is made with the first entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All in their order."""
        if self._count:
            with self._path.open("rb") as file:
                yield from map(json.loads, file)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one.

        Raises:
            UserError: It cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab" if self._count else "wb") as file:
                file.write(dump_line(entry) + b"\n")
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error
        self._count += 1

    def delete(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)


def stems_of(names: Iterable[str]) -> dict[str, str]:
    """Names for results: those of files without suffixes; two that would be the same keep theirs.

    Names that are too long for another suffix, that are not UTF-8 or that could steer a terminal
    are changed, and end in a hash that keeps them apart.
    """
    bare = {name: PurePosixPath(name).with_suffix("").as_posix() for name in names}
    counts = Counter(bare.values())
    return {
        name: _portable(stem if counts[stem] == 1 else name, name) for name, stem in bare.items()
    }


def _portable(stem: str, name: str) -> str:
    """A relative path that every program can open and show."""
    shown = "".join(letter if letter.isprintable() else "_" for letter in stem)
    *folders, last = shown.split("/")
    room = LONGEST_NAME - RESERVED
    if shown == stem and len(last.encode()) <= room:
        return stem
    suffix = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    shortened = last.encode()[: room - len(suffix)].decode(errors="ignore")
    return "/".join((*folders, shortened + suffix))
