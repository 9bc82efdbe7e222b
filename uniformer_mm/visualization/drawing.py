"""Drawing predictions on RGB images with OpenCV, and words with Pillow.

It takes a few milliseconds per image, as videos need it, and the same prediction always gets the
same picture; mmdet's and mmpose's visualizers draw with matplotlib, and mmdet's colours are random.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from uniformer_mm.datasets.media import Image

Colour = tuple[int, int, int]

MASK_OPACITY = 0.45
BLACK, WHITE, GREY = (0, 0, 0), (255, 255, 255), (70, 70, 70)
BAR = (46, 134, 193)
LEAST_WIDTH = 320
"""Pixels that a line of words needs."""

LARGEST_SIDE = 4096
"""Pixels up to which small pictures are enlarged; no picture is larger, unless its image is."""

LETTERS, GAP = 14, 6
"""Height of titles' letters, and space around panels, in pixels."""


class Label(NamedTuple):
    """Words on a coloured ground; `x`, `y` is its upper left corner in pixels."""

    text: str
    x: float
    y: float
    ground: Colour


def unit(image: Image) -> int:
    """Width in pixels of a line that is thin but visible."""
    return max(1, round(min(image.shape[:2]) / 320))


def paint_masks(image: Image, masks: NDArray[np.bool_], colours: Sequence[Colour]) -> None:
    """Tint masks (N, H, W) and draw their contours, in place."""
    for mask, colour in zip(masks, colours, strict=True):
        image[mask] = (
            (1 - MASK_OPACITY) * image[mask] + MASK_OPACITY * np.array(colour, np.float32)
        ).astype(np.uint8)
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        cv2.drawContours(image, contours, -1, colour, unit(image), cv2.LINE_AA)


def paint_boxes(image: Image, boxes: NDArray[np.floating], colours: Sequence[Colour]) -> None:
    """Draw boxes (N, 4), as x1, y1, x2, y2 in pixels, in place."""
    for (x1, y1, x2, y2), colour in zip(np.rint(boxes).astype(int).tolist(), colours, strict=True):
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, 1 + unit(image))


def paint_skeleton(
    image: Image,
    joints: NDArray[np.floating],
    visible: NDArray[np.bool_],
    links: Sequence[tuple[int, int]],
    link_colours: Sequence[Colour],
    joint_colours: Sequence[Colour],
) -> None:
    """Draw the visible joints (K, 2) of a person, and the links between them, in place."""
    points = [(int(x), int(y)) for x, y in np.rint(joints)]
    thickness = unit(image)
    for (start, end), colour in zip(links, link_colours, strict=True):
        if visible[start] and visible[end]:
            cv2.line(image, points[start], points[end], colour, 1 + thickness, cv2.LINE_AA)
    for point, seen, colour in zip(points, visible, joint_colours, strict=True):
        if seen:
            cv2.circle(image, point, 2 * thickness + 1, colour, -1, cv2.LINE_AA)
            cv2.circle(image, point, 2 * thickness + 1, WHITE, 1, cv2.LINE_AA)


def write_labels(image: Image, labels: Sequence[Label], size: int | None = None) -> Image:
    """The image with labels, moved to lie within it.

    Args:
        image: RGB.
        labels: In the order of painting.
        size: Height of the letters in pixels; by default it fits the image.
    """
    font = _font(size or int(np.clip(8 + 4 * unit(image), 12, 40)))
    canvas = PillowImage.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    ascent, descent = font.getmetrics()
    for text, x, y, ground in labels:
        width, height = font.getlength(text) + 6, ascent + descent
        x = min(max(x, 0), max(canvas.width - width, 0))
        y = min(max(y, 0), max(canvas.height - height, 0))
        pen.rectangle((x, y, x + width, y + height), fill=ground)
        pen.text((x + 3, y), text, font=font, fill=_legible_on(ground))
    return np.array(canvas)


def under_scores(image: Image, scores: Sequence[tuple[str, float]], lines: int) -> Image:
    """An image under lines of names, with bars for their scores.

    Args:
        image: RGB; a narrow one is enlarged.
        scores: Names and scores from 0 to 1.
        lines: Of them there is room for.
    """
    if min(image.shape[:2]) < LEAST_WIDTH and max(image.shape[:2]) < LARGEST_SIDE:
        image = resized(image, LEAST_WIDTH)
    missing = max(LEAST_WIDTH - image.shape[1], 0)
    image = np.pad(image, ((0, 0), (0, missing), (0, 0)))
    letters = int(np.clip(image.shape[1] / 32, 14, 28))
    line = 3 * letters // 2
    header = np.zeros((line * lines + letters // 2, image.shape[1], 3), np.uint8)
    labels = []
    for row, (name, score) in enumerate(scores[:lines]):
        top = row * line + letters // 4
        width = round(score * (image.shape[1] - 4))
        cv2.rectangle(header, (2, top + 1), (max(2 + width, 3), top + line - 2), BAR, -1)
        labels.append((f"{score:6.1%}  {name}", top))
    canvas = PillowImage.fromarray(header)
    pen = ImageDraw.Draw(canvas)
    for text, top in labels:
        pen.text((6, top + letters // 8), text, font=_font(letters), fill=WHITE)
    return np.concatenate([np.array(canvas), image])


def resized(image: Image, shorter_side: int) -> Image:
    """An image (H, W, 3) of another shorter side in pixels, as far as the longer one may be."""
    height, width = image.shape[:2]
    factor = min(shorter_side / min(height, width), LARGEST_SIDE / max(height, width))
    size = (max(round(factor * width), 1), max(round(factor * height), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def side_by_side(
    panels: Sequence[tuple[str, Image]], columns: int, lines: int | None = None
) -> Image:
    """Images in rows, each under its title.

    Args:
        panels: Titles and images; all images have one size.
        columns: Of a row; the last row may have fewer.
        lines: Of a title there is room for, the rest is cut off; by default as many as it takes.
            Frames of a video are of one size whatever their titles are.
    """
    height, width = panels[0][1].shape[:2]
    font = _font(LETTERS)
    titles = [_wrapped(title, width - 2 * GAP, font)[:lines] for title, _ in panels]
    line = sum(font.getmetrics())
    header = line * (lines or max(len(title) for title in titles)) + 2 * GAP
    rows = -(-len(panels) // columns)
    shape = (rows * (header + height + GAP), min(columns, len(panels)) * (width + GAP) - GAP, 3)
    canvas = PillowImage.new("RGB", shape[1::-1])
    pen = ImageDraw.Draw(canvas)
    for index, (title, (_, image)) in enumerate(zip(titles, panels, strict=True)):
        left = index % columns * (width + GAP)
        top = index // columns * (header + height + GAP)
        for row, text in enumerate(title):
            pen.text((left + GAP, top + GAP + row * line), text, font=font, fill=WHITE)
        canvas.paste(PillowImage.fromarray(image), (left, top + header))
    return np.array(canvas)


def inner_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The point x, y of a mask that is farthest from its border."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x) - 1, int(y) - 1


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Lines of at most so many pixels, as far as words allow it."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _legible_on(ground: Colour) -> Colour:
    red, green, blue = ground
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else WHITE


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's, which mmengine brings; it knows Latin, Greek and Cyrillic letters."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)
