"""Pictures of videos with the true and the predicted class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.engine.hooks.picture_names import NamedPictures, write_picture
from uniformer_mm.visualization.class_scores import probabilities, shares_of
from uniformer_mm.visualization.drawing import LARGEST_SIDE
from uniformer_mm.visualization.prediction import class_name

COLUMNS, ROWS = 4, 2
FRAME_HEIGHT = 160
GAP = 4
LINE_HEIGHT = 20
CAPTION_HEIGHT = 2 * LINE_HEIGHT + GAP
TRUTH, RIGHT, WRONG = "white", "lime", "orangered"


@HOOKS.register_module()
class VideoPicturesHook(NamedPictures):
    """Paints eight frames of a video under its true and its predicted class.

    mmaction's VisualizationHook fails on the inputs of Recognizer3D, and its visualizer looks for
    labels under names that data samples do not have.

    Args:
        enable: Whether to paint at all.
        interval: While validating, the first video of every so many batches is painted; while
            testing, all are.
        out_dir: Folder for JPEG files; the visualizer's own one if None.
        show: Open a window.
        wait_time: Seconds to show a picture for.
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 50,
        out_dir: str | None = None,
        show: bool = False,
        wait_time: float = 2.0,
    ) -> None:
        self.enable = enable
        self.interval = interval
        self.out_dir = out_dir
        self.show = show
        self.wait_time = wait_time

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Paint the first video of some batches."""
        if self.enable and batch_idx % self.interval == 0:
            self._paint(runner, f"{batch_idx}", data_batch["inputs"][:1], outputs[:1])

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Paint all videos of a batch."""
        if self.enable:
            self._paint(runner, f"{batch_idx}", data_batch["inputs"], outputs)

    def _paint(
        self, runner: Runner, batch: str, inputs: Sequence[Tensor], samples: Sequence[Any]
    ) -> None:
        visualizer = runner.visualizer
        classes = (visualizer.dataset_meta or {}).get("classes")
        model: Any = runner.model
        head = getattr(model.module if is_model_wrapper(model) else model, "cls_head", None)
        for index, (video, sample) in enumerate(zip(inputs, samples, strict=True)):
            name = self.names(sample.get("filename", f"batch_{batch}_video_{index}"))
            canvas = contact_sheet(frames_of(video))
            visualizer.set_image(canvas)
            scores = probabilities(sample.pred_score, head)
            lines = captions(list(labels_of(sample)), scores, classes)
            for line, (text, colour) in enumerate(lines):
                position = np.array([GAP, GAP + line * LINE_HEIGHT])
                visualizer.draw_texts(text, position, font_sizes=13, colors=colour)
            self._deliver(runner, name, visualizer.get_image())

    def _deliver(self, runner: Runner, name: str, picture: NDArray[np.uint8]) -> None:
        """Show a picture, and keep it in the folder or with the visualizer."""
        if self.show:
            runner.visualizer.show(picture, win_name=name, wait_time=self.wait_time)
        if self.out_dir:
            write_picture(Path(self.out_dir, f"{name}.jpg"), picture)
        else:
            runner.visualizer.add_image(name.replace("/", "_"), picture, step=runner.iter)


def frames_of(video: Tensor) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of the first view of an input (views, 3, T, H, W) or (T, 3, H, W)."""
    frames = video[0].movedim(0, -1) if video.dim() == 5 else video.movedim(1, -1)
    return frames.numpy().astype(np.uint8)


def contact_sheet(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Up to eight evenly spaced frames, row by row, under an empty bar for a caption."""
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), ROWS * COLUMNS)).astype(int)]
    width = round(FRAME_HEIGHT * chosen.shape[2] / chosen.shape[1])
    width = min(max(width, 1), LARGEST_SIDE // COLUMNS)
    rows = -(-len(chosen) // COLUMNS)
    height = CAPTION_HEIGHT + rows * (FRAME_HEIGHT + GAP)
    canvas = np.zeros((height, COLUMNS * (width + GAP) - GAP, 3), dtype=np.uint8)
    for index, frame in enumerate(chosen):
        row, column = divmod(index, COLUMNS)
        top, left = CAPTION_HEIGHT + row * (FRAME_HEIGHT + GAP), column * (width + GAP)
        canvas[top : top + FRAME_HEIGHT, left : left + width] = cv2.resize(
            frame, (width, FRAME_HEIGHT), interpolation=cv2.INTER_CUBIC
        )
    return canvas


def labels_of(sample: Any) -> dict[int, float]:
    """Classes of a data sample of mmaction2's and their shares: one, several, or mixed ones."""
    label = sample.gt_label
    return {int(label): 1.0} if len(label) == 1 else shares_of(label)


def captions(
    truth: Sequence[int], scores: Tensor, classes: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Texts and colours for the true classes and for as many predicted ones.

    Args:
        truth: Numbers of classes.
        scores: Probabilities (C,).
        classes: Names.
    """
    best = scores.argsort(descending=True)[: max(len(truth), 1)].tolist()
    meta = {"classes": classes}
    named = [class_name(meta, label) for label in truth]
    predicted = [f"{class_name(meta, label)}, {float(scores[label]):.2f}" for label in best]
    return [
        (f"truth: {'; '.join(named) or 'no class'}", TRUTH),
        (f"prediction: {'; '.join(predicted)}", RIGHT if set(truth) == set(best) else WRONG),
    ]
