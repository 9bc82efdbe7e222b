"""Pictures of segmentation results, with a legend."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine import fileio
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.typing import NDArray

from uniformer_mm.engine.hooks.picture_names import NamedPictures, write_picture

Image = NDArray[np.uint8]

GAP = 6
LINE = 24
SWATCH = 14
FONT, FONT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.5


@HOOKS.register_module()
class SegmentationPicturesHook(NamedPictures):
    """Paints the ground truth (left) and the prediction (right) over the image.

    mmseg's SegVisualizationHook knows no folder, writes class names into the picture where they
    hide it and each other, darkens what is not labelled, and warns when it has nothing to do.
    Classes, colours and opacity (`alpha`) are those of the run's SegLocalVisualizer.

    Args:
        draw: Whether to do anything.
        interval: While validating, every so many batches are painted. All are while testing.
        show: Open a window.
        wait_time: Seconds that it stays open.
        out_dir: Folder of the pictures, see `PictureNames`; None for the visualizer's own.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        out_dir: str | None = None,
    ) -> None:
        self.draw = draw
        self.interval = interval
        self.show = show
        self.wait_time = wait_time
        self.out_dir = out_dir

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Sequence[Any] | None = None,
        mode: str = "train",
    ) -> None:
        if not self.draw or mode == "train":
            return
        if mode == "val" and not self.every_n_inner_iters(batch_idx, self.interval):
            return
        visualizer = runner.visualizer
        for sample in outputs or ():
            name = self.names(sample.img_path)
            content = np.frombuffer(fileio.get(sample.img_path), np.uint8)
            image = cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1].astype(np.uint8)
            maps = [
                sample.get(key).data.squeeze().long().cpu().numpy()  # one of two classes is a float
                for key in ("gt_sem_seg", "pred_sem_seg")
                if key in sample
            ]
            meta = visualizer.dataset_meta
            picture = paint(image, maps, meta["classes"], meta["palette"], visualizer.alpha)
            if self.show:
                visualizer.show(picture, win_name=name, wait_time=self.wait_time)
            if self.out_dir:
                write_picture(Path(self.out_dir, f"{name}.jpg"), picture)
            elif not self.show:
                # `runner.iter` would build the training set, which tests can do without.
                step = runner.message_hub.get_info("iter", 0)
                visualizer.add_image(name.replace("/", "_"), picture, step=step)


def paint(
    image: Image,
    maps: Sequence[NDArray[np.integer]],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    opacity: float,
) -> Image:
    """Label maps over an image, side by side, and a legend of the classes in them below.

    Args:
        image: RGB (H, W, 3).
        maps: Labels (H, W); one that is no class leaves the image as it is.
        classes: Names.
        palette: RGB colours.
        opacity: Of the colours, from 0 to 1.
    """
    colours = np.array(palette, dtype=np.float32)
    panels = []
    for labels in maps:
        panel, is_class = image.copy(), labels < len(classes)
        tint = opacity * colours[labels[is_class]]
        panel[is_class] = np.rint((1 - opacity) * image[is_class] + tint)
        panels.append(panel)
    gap = np.full((len(image), GAP, 3), 255, np.uint8)
    row = np.concatenate([panels[0], *(part for panel in panels[1:] for part in (gap, panel))], 1)
    present = [label for label in np.unique(np.stack(maps)) if label < len(classes)]
    entries = [(str(classes[label]), palette[label]) for label in present]
    return np.concatenate([row, legend(row.shape[1], entries)])


def legend(width: int, entries: Sequence[tuple[str, Sequence[int]]]) -> Image:
    """Names beside their colours on white, in as many lines as it takes."""
    places, x, y = [], GAP, 0
    for name, _ in entries:
        needed = SWATCH + cv2.getTextSize(name, FONT, FONT_SIZE, 1)[0][0] + 3 * GAP
        if x > GAP and x + needed > width:
            x, y = GAP, y + LINE
        places.append((x, y))
        x += needed
    canvas = np.full((y + LINE, width, 3), 255, np.uint8)
    for (x, y), (name, colour) in zip(places, entries, strict=True):
        top = y + (LINE - SWATCH) // 2
        canvas[top : top + SWATCH, x : x + SWATCH] = colour
        corner = (x + SWATCH + GAP, top + SWATCH - 2)
        cv2.putText(canvas, name, corner, FONT, FONT_SIZE, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas
