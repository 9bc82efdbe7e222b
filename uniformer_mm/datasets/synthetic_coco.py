"""A drawn detection set in COCO's own layout: small, seeded, honest and quick to learn.

Every scene holds a few shapes over a muted, cluttered background. A class is a shape and a range of
hues; size, rotation, stretch, lighting, occlusion and truncation vary, and so does the image size.
Like COCO, the set also has empty images, crowd regions (``iscrowd``) and masks in several parts.
"""

from __future__ import annotations

import colorsys
import errno
import json
import math
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Part of the cache key: raise it with every change that alters a pixel or an annotation.
GENERATOR_VERSION = 1

CLASSES: tuple[str, ...] = ("disc", "square", "triangle", "star", "cross", "heart")

# RGB; the hue of an object varies by up to HUE_SPREAD around that of its class.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (56, 122, 236),
    (240, 104, 32),
    (54, 178, 82),
    (250, 220, 40),
    (148, 80, 222),
    (234, 58, 112),
)

MIN_IMAGE_SIZE = 64
HUE_SPREAD = 12 / 360  # in turns; the nearest two classes stay apart by shape and barely by hue
OBJECTS_PER_IMAGE = (1, 5)
OBJECT_SIZE = (1 / 8, 1 / 2)  # of the shorter image side
MAX_HIDDEN = 0.7  # an object may lose this share of its area to other objects and the image border
# By index, not by chance: the smallest of sets has all kinds. Even and odd, so they never meet.
EMPTY_PERIOD, EMPTY_PHASE = 16, 7
CROWD_PERIOD, CROWD_PHASE = 10, 4

_GENERATOR_NAME = "uniformer_mm.datasets.synthetic_coco"
_MARKER = "synthetic.json"
_PLACEMENT_ATTEMPTS = 20
_SUPERSAMPLING = 4
_JPEG_QUALITY = 95

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class SyntheticCocoSpec:
    """What the set is made of; equal specs give equal bytes.

    Attributes:
        num_train: Images in ``train2017``.
        num_val: Images in ``val2017``; other scenes than the training ones.
        image_size: Longer image side in pixels; the aspect ratio varies from 3:4 to 4:3.
        seed: Seed of the scenes. Image k depends on it, on the split and on k, not on the counts.

    Raises:
        ValueError: A field is not an integer or below its minimum.
    """

    num_train: int = 64
    num_val: int = 32
    image_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate every field."""
        minima = {"num_train": 1, "num_val": 1, "image_size": MIN_IMAGE_SIZE, "seed": 0}
        for field in fields(self):
            value, minimum = getattr(self, field.name), minima[field.name]
            if type(value) is not int or value < minimum:
                raise ValueError(f"{field.name} must be an integer >= {minimum}, got {value!r}")


def make_synthetic_coco(root: Path, spec: SyntheticCocoSpec) -> Path:
    """Make sure that ``root`` holds the set of ``spec``: reuse it, or draw it anew.

    The set is drawn into a sibling folder and renamed into place, so an interruption leaves no half
    set behind and processes that start together end with the same one.

    Returns:
        ``root``, with ``train2017/``, ``val2017/`` and ``annotations/instances_*2017.json``.

    Raises:
        FileExistsError: ``root`` holds something else, which is never deleted.
    """
    target = Path(root).resolve()
    if _is_complete(target, spec):
        return root
    _refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = _sibling(target)
    try:
        staging.mkdir()
        for split_index, (split, count) in enumerate(_splits(spec)):
            _write_split(staging, split, split_index, count, spec)
        (staging / _MARKER).write_text(_marker(spec))
        _install(staging, target, spec)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return root


# ---------------------------------------------------------------------------------------- on disk


def _splits(spec: SyntheticCocoSpec) -> tuple[tuple[str, int], ...]:
    return ("train2017", spec.num_train), ("val2017", spec.num_val)


def _file_name(index: int) -> str:
    return f"{index + 1:012d}.jpg"


def _annotation_file(split: str) -> str:
    return f"annotations/instances_{split}.json"


def _contents(spec: SyntheticCocoSpec) -> set[str]:
    """Relative names of all files and folders of a set."""
    names = {_MARKER, "annotations"}
    for split, count in _splits(spec):
        names |= {split, _annotation_file(split)}
        names |= {f"{split}/{_file_name(index)}" for index in range(count)}
    return names


def _listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _marker(spec: SyntheticCocoSpec) -> str:
    content = {"generator": _GENERATOR_NAME, "version": GENERATOR_VERSION, "spec": asdict(spec)}
    return json.dumps(content, indent=2) + "\n"


def _read_marker(folder: Path) -> tuple[int, SyntheticCocoSpec] | None:
    """Generator version and spec of the set in ``folder``; None if it is not one of ours."""
    try:
        content = json.loads((folder / _MARKER).read_text())
        if content["generator"] == _GENERATOR_NAME:
            return content["version"], SyntheticCocoSpec(**content["spec"])
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None


def _is_complete(folder: Path, spec: SyntheticCocoSpec) -> bool:
    """Whether ``folder`` is the set of ``spec`` with no file missing."""
    if _read_marker(folder) != (GENERATOR_VERSION, spec):
        return False
    try:
        return _contents(spec) <= _listing(folder)
    except FileNotFoundError:  # another process is replacing it
        return False


def _refuse_foreign(folder: Path) -> None:
    """Raise unless ``folder`` is absent, empty, or holds nothing but a set of this generator."""
    while True:
        try:
            before = folder.stat().st_ino
            objection = _foreign_content(folder)
            after = folder.stat().st_ino
        except FileNotFoundError:
            return
        if before == after:  # otherwise another process has replaced it while we looked
            break
    if objection:
        raise FileExistsError(f"{folder} {objection}: choose another folder, or move it away")


def _foreign_content(folder: Path) -> str | None:
    """What speaks against deleting ``folder``, as the rest of a sentence about it."""
    if not folder.is_dir():
        return "is a file, not the folder of a data set"
    listing = _listing(folder)
    if not listing:
        return None
    marker = _read_marker(folder)
    if marker is None:
        return (
            "is not empty and was not made by the generator of the synthetic set "
            f"(it has no valid {_MARKER})"
        )
    _, spec = marker
    foreign = sorted(listing - _contents(spec))
    if foreign:
        return (
            f"holds an outdated synthetic set that would be deleted, but also {foreign[0]}, "
            "which the generator did not write"
        )
    return None


def _sibling(target: Path) -> Path:
    """A free hidden name beside ``target``, so that a rename stays on one file system."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}")


def _install(staging: Path, target: Path, spec: SyntheticCocoSpec) -> None:
    """Rename ``staging`` to ``target``, unless another process has put the same set there."""
    while True:
        try:
            os.rename(staging, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if _is_complete(target, spec):
            return
        _refuse_foreign(target)
        retired = _sibling(target)
        try:
            os.rename(target, retired)
        except FileNotFoundError:  # another process is at this very step
            continue
        try:
            os.rename(staging, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            shutil.rmtree(retired, ignore_errors=True)


def _write_split(
    root: Path, split: str, split_index: int, count: int, spec: SyntheticCocoSpec
) -> None:
    """Draw the images of one split and write them with their annotation file."""
    (root / split).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng((spec.seed, split_index, index))
        scene = Scene(
            spec.image_size,
            rng,
            is_empty=index % EMPTY_PERIOD == EMPTY_PHASE,
            has_crowd=index % CROWD_PERIOD == CROWD_PHASE,
        )
        height, width = scene.canvas.shape[:2]
        (root / split / _file_name(index)).write_bytes(_encode_jpeg(scene.canvas))
        images.append(
            {
                "id": index + 1,
                "file_name": _file_name(index),
                "width": width,
                "height": height,
                "license": 1,
            }
        )
        for layer in scene.layers:
            annotations.append(_annotation(len(annotations) + 1, index + 1, layer))
    content = {
        "info": {
            "description": f"Synthetic COCO, {split}",
            "version": str(GENERATOR_VERSION),
            "contributor": _GENERATOR_NAME,
        },
        "licenses": [
            {
                "id": 1,
                "name": "Apache License 2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            }
        ],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": index + 1, "name": name, "supercategory": "shape"}
            for index, name in enumerate(CLASSES)
        ],
    }
    path = root / _annotation_file(split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")))


def _encode_jpeg(canvas: FloatArray) -> bytes:
    pixels = np.rint(canvas[..., ::-1]).clip(0, 255).astype(np.uint8)
    _, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return buffer.tobytes()


# ------------------------------------------------------------------------------------ annotations


def _annotation(annotation_id: int, image_id: int, layer: Layer) -> dict[str, Any]:
    """COCO's record of the visible part of an object or of a crowd region."""
    rows, columns = (np.flatnonzero(layer.visible.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    right, bottom = int(columns[-1]) + 1, int(rows[-1]) + 1
    polygons = None if layer.is_crowd else mask_to_polygons(layer.visible)
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": layer.label + 1,
        "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
        "area": int(layer.visible.sum()),
        "iscrowd": int(layer.is_crowd),
        "segmentation": mask_to_rle(layer.visible) if polygons is None else polygons,
    }


def mask_to_polygons(mask: BoolArray) -> list[list[float]] | None:
    """Outlines [x0, y0, x1, y1, ...] of the parts of a mask (H, W); None if it has a hole.

    The contour of the mask at twice its size runs between the centres of the border pixels and
    their outer edges, so pycocotools turns the polygons back into exactly this mask. (At its own
    size the contour runs through the centres, and half of the border would get lost.)
    """
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if any(parent >= 0 for *_, parent in hierarchy[0]):
        return None
    return [((contour.reshape(-1) + 0.5) / 2).tolist() for contour in contours]


def mask_to_rle(mask: BoolArray) -> dict[str, list[int]]:
    """Uncompressed run lengths of a mask (H, W), column by column and background first."""
    flat = np.concatenate(([False], mask.ravel(order="F"), [False]))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    bounds = np.concatenate(([0], changes, [mask.size]))
    counts = np.diff(bounds)
    if counts[-1] == 0:
        counts = counts[:-1]
    return {"size": list(mask.shape), "counts": counts.tolist()}


# ----------------------------------------------------------------------------------------- scenes


@dataclass
class Layer:
    """An object or a crowd region of a scene, and what can be seen of it.

    Attributes:
        label: Index into ``CLASSES``.
        visible: Mask (H, W) of what the border and later objects leave.
        full_area: Pixels of the whole shape, hidden or not.
        is_crowd: Whether it is a crowd region.
    """

    label: int
    visible: BoolArray
    full_area: float
    is_crowd: bool = False


class Scene:
    """A drawn image and its objects, in painting order.

    Attributes:
        canvas: RGB image (H, W, 3), float32 from 0 to 255.
        layers: Objects and crowd regions; their visible masks are disjoint.
    """

    def __init__(
        self, image_size: int, rng: np.random.Generator, *, is_empty: bool, has_crowd: bool
    ) -> None:
        """Draw a scene whose longer side has ``image_size`` pixels."""
        self.rng = rng
        shorter = round(image_size * rng.uniform(3 / 4, 1))
        shape = (image_size, shorter) if rng.random() < 0.4 else (shorter, image_size)
        self.shorter_side = shorter
        self.canvas = _draw_background(shape, rng)
        self.layers: list[Layer] = []
        angle = rng.uniform(0, 2 * math.pi)
        self._light = np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)
        if has_crowd:
            self._add_crowd()
        if not is_empty:
            for _ in range(rng.integers(OBJECTS_PER_IMAGE[0], OBJECTS_PER_IMAGE[1] + 1)):
                self._add_object()
        self._develop()

    def _add_object(self) -> None:
        """Paint one object where it hides no other one too much; none if there is no such place."""
        rng = self.rng
        for _ in range(_PLACEMENT_ATTEMPTS):
            label = int(rng.integers(len(CLASSES)))
            size = self.shorter_side * math.exp(rng.uniform(*np.log(OBJECT_SIZE)))
            outline = _pose(label, size, rng) + self._random_position(0.3 * size)
            window = _window(outline, self.canvas.shape, margin=math.ceil(0.25 * size))
            alpha = _rasterise(outline, window)
            mask = self._mask(alpha, window)
            full_area = cv2.contourArea(outline)
            seen = [mask.sum() / full_area]
            seen += [(layer.visible & ~mask).sum() / layer.full_area for layer in self.layers]
            if min(seen) >= 1 - MAX_HIDDEN:
                self._paint(outline, window, alpha, _object_colour(label, rng))
                self._put_on_top(Layer(label, mask, full_area))
                return

    def _add_crowd(self) -> None:
        """Paint a dense cluster of tiny shapes of one class; the annotation covers all of it."""
        rng = self.rng
        label = int(rng.integers(len(CLASSES)))
        pitch = self.shorter_side * rng.uniform(1 / 20, 1 / 15)
        radii = pitch * rng.uniform((3, 2.2), (4.5, 3.2))
        centre = self._random_position(0.8 * radii[0])
        region = np.zeros(self.canvas.shape[:2], dtype=bool)
        steps = np.arange(-5, 6)
        # Rows of a hexagonal grid, within an ellipse.
        grid = np.array([(column + row % 2 / 2, row * 0.87) for row in steps for column in steps])
        grid = grid[(((grid * pitch) / radii) ** 2).sum(axis=1) <= 1]
        for position in rng.permutation(grid):
            size = pitch * rng.uniform(0.9, 1.25)
            offset = (position + rng.uniform(-0.15, 0.15, 2)) * pitch
            outline = _pose(label, size, rng) + (centre + offset).astype(np.float32)
            window = _window(outline, self.canvas.shape, margin=math.ceil(0.25 * size))
            if region[window].size == 0:
                continue
            alpha = _rasterise(outline, window)
            self._paint(outline, window, alpha, _object_colour(label, rng))
            region |= self._mask(alpha, window)
        reach = 2 * math.ceil(pitch / 3) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        region = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, kernel).astype(bool)
        self._put_on_top(Layer(label, region, float(region.sum()), is_crowd=True))

    def _random_position(self, margin: float) -> FloatArray:
        """A point (x, y) at least ``margin`` pixels from the border."""
        height, width = self.canvas.shape[:2]
        return self.rng.uniform(margin, (width - margin, height - margin)).astype(np.float32)

    def _mask(self, alpha: FloatArray, window: Window) -> BoolArray:
        mask = np.zeros(self.canvas.shape[:2], dtype=bool)
        mask[window] = alpha >= 0.5
        return mask

    def _put_on_top(self, layer: Layer) -> None:
        for below in self.layers:
            below.visible &= ~layer.visible
        self.layers.append(layer)

    def _paint(
        self, outline: FloatArray, window: Window, alpha: FloatArray, colour: FloatArray
    ) -> None:
        """Paint a shape lit from one side, over its soft shadow on the other."""
        region = self.canvas[window]
        centre = outline.mean(axis=0)
        radius = float(np.abs(outline - centre).max())
        shadow = _rasterise(outline - 0.1 * radius * self._light, window)
        shadow = _blur(shadow, 0.08 * radius + 0.5)
        region *= 1 - 0.45 * shadow[..., None]
        y, x = np.mgrid[window].astype(np.float32)
        shade = 1 + 0.16 * ((x - centre[0]) * self._light[0] + (y - centre[1]) * self._light[1]) / (
            radius
        )
        region += alpha[..., None] * ((colour * shade[..., None]).clip(0, 255) - region)

    def _develop(self) -> None:
        """What a camera adds: exposure, white balance, softness and noise."""
        rng = self.rng
        self.canvas *= (rng.uniform(0.8, 1.12) * rng.uniform(0.96, 1.04, 3)).astype(np.float32)
        self.canvas = _blur(self.canvas, rng.uniform(0.2, 0.6))
        grain = rng.standard_normal(self.canvas.shape[:2], dtype=np.float32)
        self.canvas += rng.uniform(0.5, 4) * grain[..., None]
        self.canvas.clip(0, 255, out=self.canvas)


# ----------------------------------------------------------------------------------------- shapes


def _unit_outlines() -> tuple[FloatArray, ...]:
    """Outlines (N, 2) of the classes, centred; the longer side of each bounding box is 1."""
    turn = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    corner = 2 * math.pi / 3 * np.arange(3)
    spike = math.pi / 5 * np.arange(10)
    reach = np.tile((1.0, 0.46), 5)
    arm = np.array([(-0.36, -1), (0.36, -1), (0.36, -0.36)])
    quarter_turn = np.array([(0, 1), (-1, 0)])
    outlines = (
        np.stack((np.cos(turn), np.sin(turn)), axis=1),
        np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
        np.stack((np.sin(corner), -np.cos(corner)), axis=1),
        np.stack((reach * np.sin(spike), -reach * np.cos(spike)), axis=1),
        np.concatenate([arm @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)]),
        np.stack(
            (
                16 * np.sin(turn) ** 3,
                -13 * np.cos(turn) + 5 * np.cos(2 * turn) + 2 * np.cos(3 * turn) + np.cos(4 * turn),
            ),
            axis=1,
        ),
    )
    centred = [outline - (outline.min(axis=0) + outline.max(axis=0)) / 2 for outline in outlines]
    return tuple((points / np.ptp(points, axis=0).max()).astype(np.float32) for points in centred)


_UNIT_OUTLINES = _unit_outlines()


def _pose(label: int, size: float, rng: np.random.Generator) -> FloatArray:
    """Outline (N, 2) of a class around the origin: stretched a little, rotated by up to 45 deg."""
    angle = rng.uniform(-math.pi / 4, math.pi / 4)
    stretch = size * np.sqrt([ratio := rng.uniform(0.85, 1.15), 1 / ratio])
    rotation = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    return ((_UNIT_OUTLINES[label] * stretch) @ rotation.T).astype(np.float32)


def _window(outline: FloatArray, shape: tuple[int, ...], margin: int) -> Window:
    """Rows and columns of an image that hold the outline and a margin around it."""
    low = np.floor(outline.min(axis=0)).astype(int) - margin
    high = np.ceil(outline.max(axis=0)).astype(int) + margin
    (left, right), (top, bottom) = (
        np.clip((low[axis], high[axis]), 0, shape[1 - axis]).tolist() for axis in (0, 1)
    )
    return slice(top, bottom), slice(left, right)


def _rasterise(outline: FloatArray, window: Window) -> FloatArray:
    """Coverage (h, w) in [0, 1] of the window's pixels; pixel i spans i to i + 1."""
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), dtype=np.uint8)
    points = (outline - (columns.start, rows.start)) * _SUPERSAMPLING - 0.5
    fractional_bits = 4
    fixed_point = np.rint(points * 2**fractional_bits).astype(np.int32)
    cv2.fillPoly(fine, [fixed_point], (255,), shift=fractional_bits)
    coverage = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return coverage.astype(np.float32) / 255


def _blur(image: FloatArray, sigma: float) -> FloatArray:
    return cv2.GaussianBlur(image, (0, 0), sigmaX=sigma).astype(np.float32, copy=False)


# ---------------------------------------------------------------------------- colours, backgrounds


def _rgb(hue: float, saturation: float, value: float) -> FloatArray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), dtype=np.float32)


def _object_colour(label: int, rng: np.random.Generator) -> FloatArray:
    hue, *_ = colorsys.rgb_to_hsv(*PALETTE[label])
    hue += rng.uniform(-HUE_SPREAD, HUE_SPREAD)
    return _rgb(hue, rng.uniform(0.62, 0.92), rng.uniform(0.76, 1.0))


def _muted_colour(hue: float, value: float, rng: np.random.Generator) -> FloatArray:
    return _rgb(hue, rng.uniform(0.05, 0.25), float(np.clip(value, 0.22, 0.97)))


def _draw_background(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A muted scene (H, W, 3): a gradient, clouds, and clutter that belongs to no class."""
    height, width = shape
    hue, value = rng.random(), rng.uniform(0.35, 0.97)
    near = _muted_colour(hue, value, rng)
    far = _muted_colour(hue + rng.uniform(-0.2, 0.2), value + rng.uniform(-0.35, 0.35), rng)
    blend = _gradient(shape, rng)[..., None]
    canvas = near + (far - near) * blend
    for cells, strength in ((3, 10), (9, 5)):
        noise = rng.standard_normal((cells, cells), dtype=np.float32)
        clouds = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        canvas += rng.uniform(0.2, 1) * strength * clouds[..., None]
    for _ in range(rng.integers(0, 4)):
        _draw_blob(canvas, _muted_colour(rng.random(), value + rng.uniform(-0.3, 0.3), rng), rng)
    for _ in range(rng.integers(0, 5)):
        _draw_stroke(canvas, _muted_colour(rng.random(), value + rng.uniform(-0.4, 0.4), rng), rng)
    return canvas


def _gradient(shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A map (H, W) from 0 to 1: a linear or radial gradient, or a horizon."""
    y, x = (grid / max(shape) - 0.5 for grid in np.mgrid[: shape[0], : shape[1]].astype(np.float32))
    kind = rng.choice(("linear", "radial", "horizon"))
    if kind == "radial":
        distance = np.hypot(x - rng.uniform(-0.4, 0.4), y - rng.uniform(-0.4, 0.4))
        return (distance / 0.9).clip(0, 1)
    if kind == "linear":
        angle = rng.uniform(0, 2 * math.pi)
        return (x * math.cos(angle) + y * math.sin(angle) + 0.5).clip(0, 1)
    height_above = y - rng.uniform(-0.2, 0.2) - rng.uniform(-0.2, 0.2) * x
    return (height_above / rng.uniform(0.02, 0.2) + 0.5).clip(0, 1)


def _draw_blob(canvas: FloatArray, colour: FloatArray, rng: np.random.Generator) -> None:
    """Add an out-of-focus spot, without any edge."""
    height, width = canvas.shape[:2]
    y, x = np.ogrid[:height, :width]
    centre = rng.uniform(0, (width, height))
    radii = rng.uniform(0.06, 0.2, 2) * max(height, width)
    distance = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
    alpha = (rng.uniform(0.3, 0.8) * np.exp(-distance)).astype(np.float32)[..., None]
    canvas += alpha * (colour - canvas)


def _draw_stroke(canvas: FloatArray, colour: FloatArray, rng: np.random.Generator) -> None:
    """Add a thin curve from border to border."""
    height, width = canvas.shape[:2]
    angle = rng.uniform(0, 2 * math.pi)
    direction = np.array([math.cos(angle), math.sin(angle)])
    # Both ends lie outside the image, the middle control point anywhere within.
    ends = rng.uniform(0.1, 0.9, (3, 2)) * (width, height)
    ends[[0, 2]] += np.outer((-1.2, 1.2), direction) * max(height, width)
    t = np.linspace(0, 1, 48)[:, None]
    curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
    alpha = np.zeros((height, width), dtype=np.uint8)
    thickness = max(1, round(max(height, width) / 256 * rng.uniform(0.6, 2.4)))
    cv2.polylines(
        alpha,
        [np.rint(curve * 16).astype(np.int32)],
        False,
        (255,),
        thickness,
        cv2.LINE_AA,
        shift=4,
    )
    canvas += alpha.astype(np.float32)[..., None] / 255 * rng.uniform(0.4, 0.9) * (colour - canvas)
