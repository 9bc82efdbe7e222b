"""A run's predictions on disk."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from uniformer_mm.errors import UserError
from uniformer_mm.predictions.label_map import LabelMap
from uniformer_mm.predictions.media import Clip, ImageFile, Video, VideoWriter
from uniformer_mm.predictions.prediction import Prediction, write_json

JSON_NAME = "predictions.json"


class PredictionFolder:
    """Takes predictions in their order and writes them below a folder.

    - `predictions.json`: all of them, objects and people in COCO's format, when the run ends;
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
        self._entries: list[dict[str, Any]] = []
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
        if self._writer is not None:
            self._writer.close()
        if self._entries or kind is None:
            write_json(self.path / JSON_NAME, self._entries, self._categories)

    def __len__(self) -> int:
        """How many predictions there are."""
        return len(self._entries)

    def add(self, prediction: Prediction) -> None:
        """Write the picture of a prediction, and keep its data for the end.

        Raises:
            UserError: A file cannot be written.
        """
        self._entries.append(prediction.to_dict())
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


def stems_of(names: Iterable[str]) -> dict[str, str]:
    """Names of files without suffixes; two that would be the same keep theirs."""
    bare = {name: PurePosixPath(name).with_suffix("").as_posix() for name in names}
    counts = Counter(bare.values())
    return {name: stem if counts[stem] == 1 else name for name, stem in bare.items()}
