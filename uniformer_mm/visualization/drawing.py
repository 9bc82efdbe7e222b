"""Draw on images with OpenCV, and text with Pillow.

Drawing takes a few milliseconds per image, as videos need it, and is deterministic; mmdet's and
mmpose's visualizers draw with matplotlib, and mmdet's colours are random.

Images are arrays (H, W, 3), uint8. Colours have the channel order of the image.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from uniformer_mm.datasets.media import Image

Colour = tuple[int, int, int]

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BAR = (168, 208, 240)
MIN_WIDTH = 320
"""Width in pixels that a line of text needs."""

LARGEST_SIDE = 4096
"""Side in pixels up to which small images are enlarged."""

TEXT_HEIGHT, GAP = 14, 6
"""Least height of the text of titles and legends, and space around panels, in pixels."""

COLUMNS, ROWS, FRAME_HEIGHT = 4, 2, 160
"""Grid of the frames of a clip, and their height in pixels."""


class Label(NamedTuple):
    """Text on a coloured background, to be put above the point `x`, `y` in pixels."""

    text: str
    x: float
    y: float
    background: Colour


def line_width(image: Image) -> int:
    """Return the width in pixels of a line that is thin but visible."""
    return max(1, round(min(image.shape[:2]) / 320))


def blend(image: Image, colours: ArrayLike, opacity: ArrayLike) -> Image:
    """Lay colours over an image.

    Args:
        image: (..., 3).
        colours: Broadcastable to the image.
        opacity: Of the colours, from 0 to 1; broadcastable to the image.
    """
    difference = np.asarray(colours, np.float32) - image
    return np.rint(image + np.asarray(opacity, np.float32) * difference).astype(np.uint8)


def draw_masks(
    image: Image, masks: NDArray[np.bool_], colours: Sequence[Colour], opacity: float
) -> None:
    """Tint masks (N, H, W) and draw their contours, in place."""
    for mask, colour in zip(masks, colours, strict=True):
        image[mask] = blend(image[mask], colour, opacity)
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        cv2.drawContours(image, contours, -1, colour, line_width(image), cv2.LINE_AA)


def draw_boxes(image: Image, boxes: NDArray[np.floating], colours: Sequence[Colour]) -> None:
    """Draw boxes (N, 4), as x1, y1, x2, y2 in pixels, in place."""
    for (x1, y1, x2, y2), colour in zip(np.rint(boxes).astype(int).tolist(), colours, strict=True):
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, 1 + line_width(image))


def draw_skeleton(
    image: Image,
    joints: NDArray[np.floating],
    visible: NDArray[np.bool_],
    links: Sequence[tuple[int, int]],
    link_colours: Sequence[Colour],
    joint_colours: Sequence[Colour],
) -> None:
    """Draw the visible joints (K, 2) of a person, and the links between them, in place."""
    points = [(int(x), int(y)) for x, y in np.rint(joints)]
    width = line_width(image)
    for (start, end), colour in zip(links, link_colours, strict=True):
        if visible[start] and visible[end]:
            cv2.line(image, points[start], points[end], colour, 1 + width, cv2.LINE_AA)
    for point, is_visible, colour in zip(points, visible, joint_colours, strict=True):
        if is_visible:
            cv2.circle(image, point, 2 * width + 1, colour, -1, cv2.LINE_AA)
            cv2.circle(image, point, 2 * width + 1, WHITE, 1, cv2.LINE_AA)


def draw_labels(image: Image, labels: Sequence[Label]) -> Image:
    """Return the image with labels that do not cover each other.

    Each label is at the free place nearest to the one above its point, the first label choosing
    first. A line joins it to its point if they are apart. A label for which no place is left is
    not drawn.
    """
    font = _font(int(np.clip(8 + 4 * line_width(image), 12, 40)))
    canvas = PillowImage.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    height = sum(font.getmetrics())
    places = np.zeros((0, 4), np.float32)
    placed = []
    for label in labels:
        size = (font.getlength(label.text) + 6, height)
        place = _free_place((label.x, label.y - height), size, canvas.size, places)
        if place is not None:
            places = np.concatenate([places, place[None]])
            placed.append((label, place.tolist()))
    for (_, x, y, background), (left, top, right, bottom) in placed:
        nearest = (min(max(x, left), right), min(max(y, top), bottom))
        pen.line(((x, y), nearest), fill=background, width=line_width(image))
    for (text, *_, background), (left, top, right, bottom) in placed:
        pen.rectangle((left, top, right - 1, bottom - 1), fill=background)
        pen.text((left + 3, top), text, font=font, fill=text_colour(background))
    return np.array(canvas)


def _free_place(
    preferred: tuple[float, float],
    size: tuple[float, float],
    limits: tuple[int, int],
    placed: NDArray[np.float32],
) -> NDArray[np.float32] | None:
    """Return the free rectangle x1, y1, x2, y2 nearest to a preferred corner, or None.

    Args:
        preferred: Upper left corner x, y in pixels.
        size: Width and height of the rectangle.
        limits: Width and height of the image.
        placed: Rectangles (N, 4) to keep clear of.
    """
    step = size[1] / 2
    axes = []
    for wanted, length, limit in zip(preferred, size, limits, strict=True):
        last = max(limit - length, 0)
        wanted = min(max(wanted, 0), last)
        axes.append(np.append(np.arange(wanted % step, last, step), [wanted, 0, last]))
    x, y = (axis.ravel() for axis in np.meshgrid(*axes))
    corners = np.stack([x, y, x + size[0], y + size[1]], 1).astype(np.float32)
    apart = (corners[:, None, :2] >= placed[:, 2:]) | (corners[:, None, 2:] <= placed[:, :2])
    free = corners[apart.any(-1).all(-1)]
    distances = np.hypot(*(free[:, :2] - preferred).T)
    return free[distances.argmin()] if len(free) else None


def text_colour(background: Colour) -> Colour:
    """Return black or white, of which the contrast to an RGB background is higher.

    By the relative luminance of WCAG 2.2; the contrast ratio is at least 4.5.
    """
    channels = np.array(background) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return BLACK if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else WHITE


def under_scores(image: Image, scores: Sequence[tuple[str, float]], lines: int) -> Image:
    """Put an image under lines of names, with bars for their scores.

    Args:
        image: A narrow one is enlarged.
        scores: Names and scores from 0 to 1.
        lines: Number of lines to leave room for.
    """
    if min(image.shape[:2]) < MIN_WIDTH and max(image.shape[:2]) < LARGEST_SIDE:
        image = resized(image, MIN_WIDTH)
    missing = max(MIN_WIDTH - image.shape[1], 0)
    image = np.pad(image, ((0, 0), (0, missing), (0, 0)), constant_values=255)
    size = int(np.clip(image.shape[1] / 32, 14, 28))
    line = 3 * size // 2
    canvas = PillowImage.new("RGB", (image.shape[1], line * lines + size // 2), WHITE)
    pen = ImageDraw.Draw(canvas)
    for row, (name, score) in enumerate(scores[:lines]):
        top = row * line + size // 4
        right = max(2 + round(score * (canvas.width - 4)), 3)
        pen.rectangle((2, top + 1, right, top + line - 2), fill=BAR)
        pen.text((6, top + size // 8), f"{score:6.1%}  {name}", font=_font(size), fill=BLACK)
    return np.concatenate([np.array(canvas), image])


def above_legend(image: Image, entries: Sequence[tuple[str, Colour]]) -> Image:
    """Put an image above a legend of names and their colours, in as many lines as it takes."""
    size = text_height(image.shape[1])
    font = _font(size)
    line = sum(font.getmetrics()) + GAP
    places: list[tuple[float, int]] = []
    x, y = float(GAP), 0
    for name, _ in entries:
        needed = size + font.getlength(name) + 3 * GAP
        if x > GAP and x + needed > image.shape[1]:
            x, y = float(GAP), y + line
        places.append((x, y))
        x += needed
    canvas = PillowImage.new("RGB", (image.shape[1], y + line), WHITE)
    pen = ImageDraw.Draw(canvas)
    for (x, y), (name, colour) in zip(places, entries, strict=True):
        top = y + (line - size) // 2
        pen.rectangle((x, top, x + size - 1, top + size - 1), fill=colour)
        pen.text((x + size + GAP, y + GAP // 2), name, font=font, fill=BLACK)
    return np.concatenate([image, np.array(canvas)])


def above_colour_bar(image: Image, bar: Image, limits: tuple[str, str]) -> Image:
    """Put an image above a bar of colours (N, 3) with the values at its ends."""
    font = _font(TEXT_HEIGHT)
    width = image.shape[1]
    drawn = cv2.resize(bar[None], (width, TEXT_HEIGHT), interpolation=cv2.INTER_LINEAR)
    canvas = PillowImage.new("RGB", (width, sum(font.getmetrics())), WHITE)
    pen = ImageDraw.Draw(canvas)
    pen.text((0, 0), limits[0], font=font, fill=BLACK)
    pen.text((width - font.getlength(limits[1]), 0), limits[1], font=font, fill=BLACK)
    gap = np.full((GAP, width, 3), 255, np.uint8)
    return np.concatenate([image, gap, drawn.astype(np.uint8), np.array(canvas)])


def contact_sheet(frames: NDArray[np.uint8]) -> Image:
    """Arrange up to `ROWS * COLUMNS` evenly spaced frames (T, H, W, 3) of a clip, row by row."""
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), ROWS * COLUMNS)).astype(int)]
    width = round(FRAME_HEIGHT * chosen.shape[2] / chosen.shape[1])
    width = min(max(width, 1), LARGEST_SIDE // COLUMNS)
    rows = -(-len(chosen) // COLUMNS)
    step = (FRAME_HEIGHT + GAP, width + GAP)
    shape = (rows * step[0] - GAP, COLUMNS * step[1] - GAP, 3)
    canvas = np.full(shape, 255, np.uint8)
    for index, frame in enumerate(chosen):
        top, left = index // COLUMNS * step[0], index % COLUMNS * step[1]
        canvas[top : top + FRAME_HEIGHT, left : left + width] = cv2.resize(
            frame, (width, FRAME_HEIGHT), interpolation=cv2.INTER_CUBIC
        )
    return canvas


def resized(image: Image, shorter_side: int) -> Image:
    """Resize an image to a shorter side in pixels, the longer one to at most `LARGEST_SIDE`."""
    height, width = image.shape[:2]
    factor = min(shorter_side / min(height, width), LARGEST_SIDE / max(height, width))
    size = (max(round(factor * width), 1), max(round(factor * height), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def side_by_side(
    panels: Sequence[tuple[str, Image]], columns: int, lines: int | None = None
) -> Image:
    """Arrange images in rows on a white background, each under its title.

    Args:
        panels: Titles and images; images of one width.
        columns: Images per row; the last row may have fewer.
        lines: Lines of a title, longer ones are cut off; by default as many as it takes. Frames of
            a video need one size for all titles.
    """
    height, width = max(len(image) for _, image in panels), panels[0][1].shape[1]
    font = _font(text_height(width))
    titles = [_wrapped(title, width, font)[:lines] for title, _ in panels]
    line = sum(font.getmetrics())
    header = line * (lines or max(len(title) for title in titles)) + GAP
    rows = -(-len(panels) // columns)
    step = (header + height + GAP, width + GAP)
    shape = (rows * step[0] - GAP, min(columns, len(panels)) * step[1] - GAP, 3)
    canvas = PillowImage.new("RGB", shape[1::-1], WHITE)
    pen = ImageDraw.Draw(canvas)
    for index, (title, (_, image)) in enumerate(zip(titles, panels, strict=True)):
        top, left = index // columns * step[0], index % columns * step[1]
        for row, text in enumerate(title):
            pen.text((left, top + row * line), text, font=font, fill=BLACK)
        canvas.paste(PillowImage.fromarray(image), (left, top + header))
    return np.array(canvas)


def text_height(width: int) -> int:
    """Return the height in pixels of the text over or under an image of a width."""
    return int(np.clip(width / 40, TEXT_HEIGHT, 40))


def inner_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the point x, y of a mask that is farthest from its border."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x) - 1, int(y) - 1


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break text into lines of at most `width` pixels, between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of matplotlib, with Latin, Greek and Cyrillic characters."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)
