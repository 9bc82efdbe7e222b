"""Output folder of a run of inference."""

import hashlib
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from uniformer_mm.datasets.media import Clip, ImageFile, Video, VideoWriter
from uniformer_mm.errors import UserError
from uniformer_mm.visualization.label_map import LabelMap
from uniformer_mm.visualization.prediction import Prediction, dump_line, write_json

JSON_NAME = "predictions.json"

MAX_NAME_BYTES = 255 - len(".mp4")
"""Length of a file name on most file systems, without the suffix of a result."""


class PredictionFolder:
    """Writes predictions, in order, to a folder.

    - `predictions.json`: all of them, objects and persons in COCO's format, when the run ends.
      Until then, and after a run was killed, each is a line of `predictions-*.jsonl`.
    - `pictures/NAME.png`, for a video or camera `pictures/NAME.mp4`: drawn predictions.
    - `labels/NAME.png`, for a video `labels/NAME/000000.png`: classes of pixels.

    Args:
        path: The folder; files of the same names in it are replaced.
        prediction_type: Type of the predictions.
        meta: Of the model's dataset.
        sources: All inputs of the run, for their names.
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
        """Return the folder itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the video, and write the predictions so far, also after an error."""
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            if len(self) or kind is None:
                write_json(self.path / JSON_NAME, self._lines, self._categories)
            self._lines.path.unlink(missing_ok=True)

    def __len__(self) -> int:
        """Number of predictions."""
        return len(self._lines)

    def add(self, prediction: Prediction) -> None:
        """Write a prediction, and draw it.

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
        """Append frames to the video of their source; a new source completes the previous one."""
        source = prediction.source
        if self._writer is None or source.video is not self._video:
            if self._writer is not None:
                self._writer.close()
            self._video = source.video
            self._writer = VideoWriter(self.path / "pictures" / f"{stem}.mp4", source.video.rate)
            self._begin, self._written = time.monotonic(), 0
        frames = source.frames() if isinstance(source, Clip) else [source.image]
        for frame in frames:
            image = prediction.draw_on(frame)
            for _ in range(self._repetitions(source)):
                self._writer.write(image)
                self._written += 1

    def _repetitions(self, source: Any) -> int:
        """How often to write a frame, so that a camera's video is as long as the run was."""
        if isinstance(source, Clip) or source.video.length is not None:
            return 1
        due = 1 + round((time.monotonic() - self._begin) * source.video.rate)
        return max(due - self._written, 0)


def check_unused(path: Path) -> None:
    """Check that a folder is new or empty.

    Raises:
        UserError: It is not.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path} exists and is not empty: choose another --out, or add --overwrite to replace"
            " files of the same names in it"
        )


class JsonLines(Iterable[dict[str, Any]]):
    """Entries in a file, one a line, each written at once; the first one creates the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0

    def __len__(self) -> int:
        """Number of entries."""
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the entries in their order."""
        if self._count:
            with self.path.open("rb") as file:
                yield from map(json.loads, file)

    def append(self, entry: dict[str, Any]) -> None:
        """Write an entry.

        Raises:
            UserError: The file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(dump_line(entry) + b"\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error
        self._count += 1


def stems_of(names: Iterable[str]) -> dict[str, str]:
    """Return names for results: without suffixes, unless two would be the same then.

    Names that are too long for another suffix, are not UTF-8 or could steer a terminal are changed,
    and end in a hash that keeps them apart.
    """
    bare = {name: PurePosixPath(name).with_suffix("").as_posix() for name in names}
    counts = Counter(bare.values())
    return {
        name: _portable(stem if counts[stem] == 1 else name, name) for name, stem in bare.items()
    }


def _portable(stem: str, name: str) -> str:
    """Return a relative path that every program can open and show."""
    shown = "".join(character if character.isprintable() else "_" for character in stem)
    *folders, last = shown.split("/")
    if shown == stem and len(last.encode()) <= MAX_NAME_BYTES:
        return stem
    suffix = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    shortened = last.encode()[: MAX_NAME_BYTES - len(suffix)].decode(errors="ignore")
    return "/".join((*folders, shortened + suffix))
