"""Articulated figures for the synthetic pose dataset: 17 joints, posed and dressed.

A body is three-dimensional: x points to its left, y up and z to where it looks; its height is about
1 and the middle of its hips the origin. It is rotated and projected without perspective. A mirrored
figure is a valid one with left and right exchanged, so flip augmentation holds: the color of a ball
on a joint says shoulder or knee, but only the face or its absence tells left from right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.drawing import (
    BoolArray,
    FloatArray,
    Polygon,
    Rng,
    muted_color,
    rgb,
)

Points = NDArray[np.float64]

SIDES = ("left", "right")
JOINTS: tuple[str, ...] = (
    "nose",
    *(
        f"{side}_{name}"
        for name in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in SIDES
    ),
)
"""Names of COCO's keypoints, in their order."""

NOSE, LEFT_EYE, LEFT_EAR, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = 0, 1, 3, 5, 7, 9
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = 11, 13, 15  # the right counterpart of each follows it

BALLS = {
    LEFT_SHOULDER: (0.0, 0.05),
    LEFT_ELBOW: (0.14, 0.044),
    LEFT_WRIST: (0.5, 0.038),
    LEFT_HIP: (0.83, 0.052),
    LEFT_KNEE: (0.33, 0.052),
    LEFT_ANKLE: (0.62, 0.042),
}
"""Hue, in turns, and radius of the balls on the joints of both sides."""

BACK_VIEWS = 0.1
"""Share of the figures that show their back."""

HEAD_RADIUS = 0.125
HEAD_CENTER = np.array((0.0, 0.47, 0.0))
FACE_ANGLE = math.radians(62)  # the face is a cap of the head's sphere, seen from its center
FACE_DIRECTION = np.array((0.0, -0.3, 0.95))


@dataclass
class Part:
    """A piece of a figure.

    Attributes:
        outline: Corners (N, 2) in pixels, relative to the figure's origin.
        depth: Larger is nearer; parts are drawn in this order.
        color: RGB.
        joints: Those that are on this part.
        is_lit: Whether it has shade and shadow, unlike what is flat on the face.
    """

    outline: FloatArray
    depth: float
    color: FloatArray
    joints: tuple[int, ...]
    is_lit: bool = True

    def placed(self, position: NDArray[np.int64], shape: tuple[int, ...]) -> Polygon:
        """The part in an image whose shape is given, with room for its shadow."""
        outline = (self.outline + position).astype(np.float32)
        margin = math.ceil(0.2 * float(np.ptp(outline, axis=0).max())) + 2
        return Polygon(outline, shape, margin)


class Figure:
    """A posed and dressed body.

    Attributes:
        joints: Joints (17, 2) in pixels, relative to the figure's origin; y points down.
        seen: Which of them (17,) are on the visible side of the body or head.
        parts: From the farthest to the nearest.
    """

    def __init__(self, height: float, rng: Rng) -> None:
        """Pose and dress a body of about `height` pixels."""
        self._height = height
        turn = math.radians(rng.uniform(-35, 35) + (180 if rng.random() < BACK_VIEWS else 0))
        roll = math.radians(rng.uniform(-10, 10))
        self._view = _rotation(2, roll) @ _rotation(1, turn)
        body = _posed_joints(rng)
        self.joints = self._project(body)
        self.seen = np.ones(len(JOINTS), dtype=bool)
        # Nose and eyes are seen from the front, ears also from slightly behind.
        outward = self._depths(body[:LEFT_SHOULDER] - HEAD_CENTER) / HEAD_RADIUS
        self.seen[:LEFT_SHOULDER] = outward > (0.25, 0.2, 0.2, -0.35, -0.35)
        self.parts: list[Part] = []
        self._dress(body, rng)
        self.parts.sort(key=lambda part: part.depth)

    def mask(self) -> tuple[BoolArray, NDArray[np.int64]]:
        """The pixels (h, w) that the figure covers, and the origin's position (x, y) in them."""
        points = np.concatenate([part.outline for part in self.parts])
        origin = -np.floor(points.min(axis=0)).astype(np.int64)
        width, height = (origin + np.ceil(points.max(axis=0)).astype(np.int64)).tolist()
        mask = np.zeros((height, width), dtype=bool)
        for part in self.parts:
            polygon = part.placed(origin, mask.shape)
            mask[polygon.window] |= polygon.alpha >= 0.5
        return mask, origin

    def draw(self, image: FloatArray, position: NDArray[np.int64], light: FloatArray) -> BoolArray:
        """Draw the figure with its origin at `position`, in place.

        Returns:
            Which joints (17,) are neither on the far side nor behind a part of the figure.
        """
        in_front = np.zeros(len(JOINTS), dtype=bool)
        for part in self.parts:
            polygon = part.placed(position, image.shape)
            polygon.draw(image, part.color, light if part.is_lit else None)
            rows, columns = polygon.window
            corner = (columns.start, rows.start)
            in_front &= ~covered(polygon.alpha >= 0.5, self.joints + position - corner)
            in_front[list(part.joints)] = True
        return in_front & self.seen

    # ------------------------------------------------------------------------------------- parts

    def _project(self, points: Points) -> FloatArray:
        """Pixels (N, 2), relative to the origin, of points (N, 3) of the body."""
        return ((points @ self._view.T)[:, :2] * (self._height, -self._height)).astype(np.float32)

    def _depths(self, points: Points) -> Points:
        return (points @ self._view.T)[:, 2]

    def _balls(self, points: Points, radii: tuple[float, ...]) -> FloatArray:
        """Outline of the convex hull of balls around points (N, 3) of the body."""
        turn = np.linspace(0, 2 * math.pi, 28, endpoint=False)
        circle = np.stack((np.cos(turn), np.sin(turn)), axis=1)
        discs = (
            self._project(points)[:, None]
            + (np.array(radii) * self._height)[:, None, None] * circle
        )
        return _hull(discs.reshape(-1, 2))

    def _add(
        self,
        points: Points,
        radii: tuple[float, ...],
        color: FloatArray,
        joints: tuple[int, ...],
        nearer: float = 0.0,
        depth: float | None = None,
    ) -> None:
        """Add the convex hull of balls around points (N, 3) of the body."""
        own_depth = float(self._depths(points).mean())
        # What is farther away gets less light.
        color = color * np.float32(np.clip(1 + 1.2 * min(own_depth, 0), 0.72, 1))
        depth = (own_depth if depth is None else depth) + nearer
        self.parts.append(Part(self._balls(points, radii), depth, color, joints))

    def _dress(self, body: Points, rng: Rng) -> None:
        skin = rgb(rng.uniform(0.05, 0.09), rng.uniform(0.2, 0.45), rng.uniform(0.6, 0.98))
        shirt, trousers = (muted_color(rng.random(), rng.uniform(0.25, 0.95), rng) for _ in "ab")
        sleeves = shirt if rng.random() < 0.5 else skin
        socks = trousers if rng.random() < 0.5 else skin
        ball_colors = [
            rgb(hue + rng.uniform(-0.02, 0.02), rng.uniform(0.65, 0.9), rng.uniform(0.75, 1))
            for hue, _ in BALLS.values()
        ]
        trunk = (LEFT_SHOULDER, LEFT_SHOULDER + 1, LEFT_HIP, LEFT_HIP + 1)
        self._add(body[list(trunk)], (0.075, 0.075, 0.09, 0.09), shirt, trunk)
        neck = np.stack((body[list(trunk[:2])].mean(axis=0), HEAD_CENTER))
        self._add(neck, (0.045, 0.045), skin, trunk, nearer=-0.01)
        self._add_head(body, skin, rng)
        for side in (0, 1):
            shoulder, elbow, wrist, hip, knee, ankle = (joint + side for joint in BALLS)
            hand = body[wrist] + 0.3 * (body[wrist] - body[elbow])
            toes = body[ankle] + (0.0, -0.03, 0.09)
            for ends, radii, color, nearer in (
                ((hip, knee), (0.086, 0.07), trousers, -0.03),
                ((knee, ankle), (0.064, 0.052), socks, -0.025),
                ((shoulder, elbow), (0.066, 0.056), shirt, 0.03),
                ((elbow, wrist), (0.052, 0.045), sleeves, 0.035),
            ):
                self._add(body[list(ends)], radii, color, ends, nearer)
            self._add(np.stack((body[ankle], toes)), (0.05, 0.045), skin, (ankle,), nearer=-0.02)
            self._add(np.stack((body[wrist], hand)), (0.045, 0.052), skin, (wrist,), nearer=0.033)
            for (left, (_, radius)), color in zip(BALLS.items(), ball_colors, strict=True):
                joint = left + side
                on_top = max(part.depth for part in self.parts if joint in part.joints) + 0.001
                self._add(body[[joint]], (radius,), color, (joint,), depth=on_top)

    def _add_head(self, body: Points, skin: FloatArray, rng: Rng) -> None:
        hair = rgb(rng.uniform(0.02, 0.12), rng.uniform(0.2, 0.8), rng.uniform(0.08, 0.45))
        head = (*range(LEFT_SHOULDER),)
        self._add(HEAD_CENTER[None] + (0, 0.012, 0), (1.06 * HEAD_RADIUS,), hair, head)
        front = self.parts[-1].depth + 0.002
        for ear in (LEFT_EAR, LEFT_EAR + 1):
            if self.seen[ear]:
                self._add(body[[ear]], (0.03,), skin * 0.93, head, nearer=-0.001)
        face = HEAD_RADIUS * _cap(FACE_DIRECTION, FACE_ANGLE)
        face = face[self._depths(face) > 0]
        if len(face) < 8:
            return
        self.parts.append(Part(_hull(self._project(HEAD_CENTER + face)), front, skin, head))
        features = [
            (body[[eye]], radius, color)
            for eye in (LEFT_EYE, LEFT_EYE + 1)
            if self.seen[eye]
            for radius, color in ((0.02, rgb(0, 0, 0.97)), (0.011, rgb(0.6, 0.4, 0.12)))
        ]
        if self.seen[NOSE]:
            features.append((body[[NOSE]] + ((0, 0.012, 0), (0, -0.008, 0)), 0.012, skin * 0.72))
            features.append((_on_head((-14, -38), (14, -38)), 0.008, rgb(0.98, 0.6, 0.62)))
        for order, (points, radius, color) in enumerate(features, start=1):
            outline = self._balls(points, (radius,) * len(points))
            self.parts.append(Part(outline, front + 1e-4 * order, color, head, is_lit=False))


def covered(mask: BoolArray, points: NDArray[Any]) -> BoolArray:
    """Which points (N, 2), in pixels, lie in a mask (H, W); none outside of the image does."""
    if not mask.size:
        return np.zeros(len(points), dtype=bool)
    columns, rows = np.floor(points).astype(int).T
    height, width = mask.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return inside & mask[rows.clip(0, height - 1), columns.clip(0, width - 1)]


# ------------------------------------------------------------------------------------------ bodies


def _posed_joints(rng: Rng) -> Points:
    """Joints (17, 3) of a body in a random pose."""
    joints = np.zeros((len(JOINTS), 3))
    joints[NOSE] = _on_head((0, -10), distance=1.08)[0]
    joints[[LEFT_EYE, LEFT_EYE + 1]] = _on_head((24, 10), (-24, 10))
    joints[[LEFT_EAR, LEFT_EAR + 1]] = _on_head((90, 0), (-90, 0))
    for side, sign in enumerate((1, -1)):
        shoulder = np.array((sign * 0.125, 0.29, 0.0))
        away, forward = rng.uniform(10, 95), rng.uniform(-20, 35)
        elbow = shoulder + 0.165 * _direction(sign * away, forward)
        away, forward = away + rng.uniform(-40, 80), forward + rng.uniform(0, 40)
        wrist = elbow + 0.15 * _direction(sign * away, forward)
        hip = np.array((sign * 0.075, 0.0, 0.0))
        away, forward = rng.uniform(2, 30), rng.uniform(-25, 40)
        knee = hip + 0.235 * _direction(sign * away, forward)
        away, forward = away - rng.uniform(0, 12), forward - rng.uniform(0, 50)
        ankle = knee + 0.225 * _direction(sign * away, forward)
        joints[LEFT_SHOULDER + side :: 2] = shoulder, elbow, wrist, hip, knee, ankle
    return joints


def _direction(away: float, forward: float) -> Points:
    """Direction of a limb that hangs down and is then raised sideways and forward, in degrees."""
    sideways, ahead = math.radians(away), math.radians(forward)
    down = -math.cos(sideways)
    return np.array((math.sin(sideways), down * math.cos(ahead), -down * math.sin(ahead)))


def _on_head(*angles: tuple[float, float], distance: float = 1.0) -> Points:
    """Points (N, 3) on the head, from degrees to its left and up; distance in radii."""
    left, up = np.radians(angles).T
    unit = np.stack((np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up)), axis=1)
    return HEAD_CENTER + distance * HEAD_RADIUS * unit


def _cap(direction: Points, angle: float) -> Points:
    """Points (N, 3) of the unit sphere no farther than `angle` from a direction."""
    steps = np.arange(400)
    height = 1 - (2 * steps + 1) / len(steps)  # a Fibonacci lattice
    azimuth = math.pi * (1 + math.sqrt(5)) * steps
    width = np.sqrt(1 - height**2)
    points = np.stack((width * np.cos(azimuth), width * np.sin(azimuth), height), axis=1)
    return points[points @ (direction / np.linalg.norm(direction)) >= math.cos(angle)]


def _rotation(axis: int, angle: float) -> Points:
    """A matrix (3, 3) that rotates around an axis."""
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[[first, second], [first, second]] = math.cos(angle)
    matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
    return matrix


def _hull(points: NDArray[Any]) -> FloatArray:
    """Corners (M, 2) of the convex hull of points (N, 2)."""
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float32, copy=False)
