"""Articulated dolls, the people of the generated keypoint set: 17 joints, posed and dressed.

A body is three-dimensional: x points to its left, y up and z to where it looks; its height is about
1 and the middle of its hips the origin. It is turned and projected without perspective. A mirrored
doll is a valid doll with left and right exchanged, so flips in training and testing hold: its
joints are balls whose colours say shoulder or knee, but what tells left from right is whether one
sees its face or its back, as for people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.datasets.synthetic.canvas import (
    BoolArray,
    FloatArray,
    Window,
    muted_colour,
    paint_lit_shape,
    rasterise,
    rgb,
    window_of,
)

Points = NDArray[np.float64]

JOINTS: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""Names of COCO's keypoints, in their order."""

NOSE, LEFT_EYE, LEFT_EAR, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = 0, 1, 3, 5, 7, 9
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = 11, 13, 15  # the right counterpart of each follows it

NOT_LABELLED, HIDDEN, VISIBLE = 0, 1, 2
"""COCO's visibility flags."""

JOINT_HUES = {
    LEFT_SHOULDER: 0.0,
    LEFT_ELBOW: 0.14,
    LEFT_WRIST: 0.5,
    LEFT_HIP: 0.83,
    LEFT_KNEE: 0.33,
    LEFT_ANKLE: 0.62,
}
"""Hue, in turns, of the balls in the joints: the same left and right, so that flips hold."""

BACK_VIEWS = 0.1
"""Share of the figures that show their back."""

_HEAD_RADIUS = 0.125
_HEAD_CENTRE = np.array((0.0, 0.47, 0.0))
_FACE_ANGLE = math.radians(62)  # the face is a cap of the head's sphere, seen from its centre
_FACE_DIRECTION = np.array((0.0, -0.3, 0.95))


@dataclass
class Part:
    """A piece of a figure.

    Attributes:
        outline: Corners (N, 2) in pixels, relative to the figure's origin.
        depth: Larger is nearer; parts are painted in this order.
        colour: RGB.
        joints: Those that are on this part.
        is_lit: Whether it has shade and shadow, unlike what is flat on the face.
    """

    outline: FloatArray
    depth: float
    colour: FloatArray
    joints: tuple[int, ...]
    is_lit: bool = True


class Figure:
    """A posed and dressed body.

    Attributes:
        joints: Joints (17, 2) in pixels, relative to the figure's origin; y points down.
        seen: Which of them (17,) are on the side of the body, or of its head, that one sees.
        parts: From the farthest to the nearest.
    """

    def __init__(self, height: float, rng: np.random.Generator) -> None:
        """Pose and dress a body of about `height` pixels."""
        self._rng = rng
        self._height = height
        turn = math.radians(rng.uniform(-35, 35) + (180 if rng.random() < BACK_VIEWS else 0))
        roll = math.radians(rng.uniform(-10, 10))
        self._view = _rotation(2, roll) @ _rotation(1, turn)
        body = _posed_joints(rng)
        self.joints = self._project(body)
        self.seen = np.ones(len(JOINTS), dtype=bool)
        # Nose and eyes are seen from the front, ears also from a little behind.
        outward = ((body[:LEFT_SHOULDER] - _HEAD_CENTRE) @ self._view.T)[:, 2] / _HEAD_RADIUS
        self.seen[:LEFT_SHOULDER] = outward > (0.25, 0.2, 0.2, -0.35, -0.35)
        self.parts: list[Part] = []
        self._dress(body)
        self.parts.sort(key=lambda part: part.depth)

    def mask(self) -> tuple[BoolArray, NDArray[np.int64]]:
        """The pixels (h, w) that the figure covers, and the origin's place (x, y) among them."""
        points = np.concatenate([part.outline for part in self.parts])
        origin = -np.floor(points.min(axis=0)).astype(np.int64)
        width, height = (origin + np.ceil(points.max(axis=0)).astype(np.int64)).tolist()
        mask = np.zeros((height, width), dtype=bool)
        for part in self.parts:
            _, window, alpha = _placed(part, origin, mask.shape)
            mask[window] |= alpha >= 0.5
        return mask, origin

    def paint(
        self, canvas: FloatArray, position: NDArray[np.int64], light: FloatArray
    ) -> BoolArray:
        """Paint the figure with its origin at `position`.

        Args:
            canvas: Changed in place.
            position: (x, y) in pixels.
            light: Unit vector (2,) towards the light.

        Returns:
            Which joints (17,) are neither on the far side nor behind a part of the figure.
        """
        in_front = np.zeros(len(JOINTS), dtype=bool)
        for part in self.parts:
            outline, window, alpha = _placed(part, position, canvas.shape)
            if alpha.size:
                if part.is_lit:
                    paint_lit_shape(canvas, outline, window, alpha, part.colour, light)
                else:
                    canvas[window] += alpha[..., None] * (part.colour - canvas[window])
                corner = (window[1].start, window[0].start)
                in_front &= ~covered(alpha >= 0.5, self.joints + position - corner)
            in_front[list(part.joints)] = True
        return in_front & self.seen

    # ------------------------------------------------------------------------------------- parts

    def _project(self, points: Points) -> FloatArray:
        """Pixels (N, 2), relative to the origin, of points (N, 3) of the body."""
        return ((points @ self._view.T)[:, :2] * (self._height, -self._height)).astype(np.float32)

    def _add(
        self,
        points: Points,
        radii: tuple[float, ...],
        colour: FloatArray,
        joints: tuple[int, ...],
        nearer: float = 0.0,
        depth: float | None = None,
    ) -> None:
        """Add the convex hull of balls around points (N, 3) of the body."""
        own_depth = float((points @ self._view.T)[:, 2].mean())
        # What is farther away gets less light.
        colour = colour * np.float32(np.clip(1 + 1.2 * min(own_depth, 0), 0.72, 1))
        outline = _hull(self._project(points), np.array(radii) * self._height)
        self.parts.append(
            Part(outline, (own_depth if depth is None else depth) + nearer, colour, joints)
        )

    def _dress(self, body: Points) -> None:
        rng = self._rng
        skin = rgb(rng.uniform(0.05, 0.09), rng.uniform(0.2, 0.45), rng.uniform(0.6, 0.98))
        shirt, trousers = (muted_colour(rng.random(), rng.uniform(0.25, 0.95), rng) for _ in "ab")
        sleeves = shirt if rng.random() < 0.5 else skin
        socks = trousers if rng.random() < 0.5 else skin
        balls = {
            joint: rgb(hue + rng.uniform(-0.02, 0.02), rng.uniform(0.65, 0.9), rng.uniform(0.75, 1))
            for joint, hue in JOINT_HUES.items()
        }
        shoulders, hips = body[[LEFT_SHOULDER, LEFT_SHOULDER + 1]], body[[LEFT_HIP, LEFT_HIP + 1]]
        trunk = (LEFT_SHOULDER, LEFT_SHOULDER + 1, LEFT_HIP, LEFT_HIP + 1)
        self._add(np.concatenate((shoulders, hips)), (0.075, 0.075, 0.09, 0.09), shirt, trunk)
        neck = np.stack((shoulders.mean(axis=0), _HEAD_CENTRE))
        self._add(neck, (0.045, 0.045), skin, trunk, nearer=-0.01)
        self._add_head(body, skin)
        for side in (0, 1):
            shoulder, elbow, wrist, hip, knee, ankle = (joint + side for joint in JOINT_HUES)
            hand = body[wrist] + 0.3 * (body[wrist] - body[elbow])
            toes = body[ankle] + (0.0, -0.03, 0.09)
            for ends, radii, colour, nearer in (
                ((hip, knee), (0.086, 0.07), trousers, -0.03),
                ((knee, ankle), (0.064, 0.052), socks, -0.025),
                ((shoulder, elbow), (0.066, 0.056), shirt, 0.03),
                ((elbow, wrist), (0.052, 0.045), sleeves, 0.035),
            ):
                self._add(body[list(ends)], radii, colour, ends, nearer)
            self._add(np.stack((body[ankle], toes)), (0.05, 0.045), skin, (ankle,), nearer=-0.02)
            self._add(np.stack((body[wrist], hand)), (0.045, 0.052), skin, (wrist,), nearer=0.033)
            for joint, radius in (
                (shoulder, 0.05),
                (elbow, 0.044),
                (wrist, 0.038),
                (hip, 0.052),
                (knee, 0.052),
                (ankle, 0.042),
            ):
                on_top = max(part.depth for part in self.parts if joint in part.joints) + 0.001
                self._add(body[[joint]], (radius,), balls[joint - side], (joint,), depth=on_top)

    def _add_head(self, body: Points, skin: FloatArray) -> None:
        rng = self._rng
        hair = rgb(rng.uniform(0.02, 0.12), rng.uniform(0.2, 0.8), rng.uniform(0.08, 0.45))
        head = (*range(LEFT_SHOULDER),)
        self._add(_HEAD_CENTRE[None] + (0, 0.012, 0), (1.06 * _HEAD_RADIUS,), hair, head)
        front = self.parts[-1].depth + 0.002
        for ear in (LEFT_EAR, LEFT_EAR + 1):
            if self.seen[ear]:
                self._add(body[[ear]], (0.03,), skin * 0.93, head, nearer=-0.001)
        face = _HEAD_CENTRE + _HEAD_RADIUS * _cap(_FACE_DIRECTION, _FACE_ANGLE)
        towards_us = ((face - _HEAD_CENTRE) @ self._view.T)[:, 2] > 0
        if towards_us.sum() < 8:
            return
        self.parts.append(Part(_hull(self._project(face[towards_us])), front, skin, head))
        features = [
            (body[[eye]], radius, colour)
            for eye in (LEFT_EYE, LEFT_EYE + 1)
            if self.seen[eye]
            for radius, colour in ((0.02, rgb(0, 0, 0.97)), (0.011, rgb(0.6, 0.4, 0.12)))
        ]
        if self.seen[NOSE]:
            features.append((body[[NOSE]] + ((0, 0.012, 0), (0, -0.008, 0)), 0.012, skin * 0.72))
            mouth = _on_head([(-14, -38), (14, -38)])
            features.append((mouth, 0.008, rgb(0.98, 0.6, 0.62)))
        for order, (points, radius, colour) in enumerate(features, start=1):
            outline = _hull(self._project(points), np.full(len(points), radius * self._height))
            self.parts.append(Part(outline, front + 1e-4 * order, colour, head, is_lit=False))


def covered(mask: BoolArray, points: NDArray[Any]) -> BoolArray:
    """Which points (N, 2), in pixels, lie in a mask (H, W); none outside of the image does."""
    columns, rows = np.floor(points).astype(int).T
    height, width = mask.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return inside & mask[rows.clip(0, height - 1), columns.clip(0, width - 1)]


# ------------------------------------------------------------------------------------------ bodies


def _posed_joints(rng: np.random.Generator) -> Points:
    """Joints (17, 3) of a body in a random pose."""
    joints = np.zeros((len(JOINTS), 3))
    joints[NOSE] = _on_head([(0, -10)], 1.08)[0]
    joints[[LEFT_EYE, LEFT_EYE + 1]] = _on_head([(24, 10), (-24, 10)])
    joints[[LEFT_EAR, LEFT_EAR + 1]] = _on_head([(90, 0), (-90, 0)])
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
        for joint, place in (
            (LEFT_SHOULDER, shoulder),
            (LEFT_ELBOW, elbow),
            (LEFT_WRIST, wrist),
            (LEFT_HIP, hip),
            (LEFT_KNEE, knee),
            (LEFT_ANKLE, ankle),
        ):
            joints[joint + side] = place
    return joints


def _direction(away: float, forward: float) -> Points:
    """Where a limb points that hangs down and is then raised sideways and forward, in degrees."""
    sideways, ahead = math.radians(away), math.radians(forward)
    down = -math.cos(sideways)
    return np.array((math.sin(sideways), down * math.cos(ahead), -down * math.sin(ahead)))


def _on_head(angles: list[tuple[float, float]], distance: float = 1.0) -> Points:
    """Points (N, 3) on the head, from degrees to its left and up; distance in radii."""
    left, up = np.radians(angles).T
    unit = np.stack((np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up)), axis=1)
    return _HEAD_CENTRE + distance * _HEAD_RADIUS * unit


def _cap(direction: Points, angle: float) -> Points:
    """Points (N, 3) of the unit sphere no farther than `angle` from a direction."""
    steps = np.arange(400)
    height = 1 - (2 * steps + 1) / len(steps)  # a Fibonacci lattice
    azimuth = math.pi * (1 + math.sqrt(5)) * steps
    width = np.sqrt(1 - height**2)
    points = np.stack((width * np.cos(azimuth), width * np.sin(azimuth), height), axis=1)
    return points[points @ (direction / np.linalg.norm(direction)) >= math.cos(angle)]


def _rotation(axis: int, angle: float) -> Points:
    """A matrix (3, 3) that turns around an axis."""
    matrix = np.eye(3)
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    matrix[[first, second], [first, second]] = math.cos(angle)
    matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
    return matrix


# ---------------------------------------------------------------------------------------- outlines


def _hull(centres: Points | FloatArray, radii: Points | None = None) -> FloatArray:
    """Corners of the convex hull of points (N, 2), or of discs around them."""
    if radii is not None:
        turn = np.linspace(0, 2 * math.pi, 28, endpoint=False)
        circle = np.stack((np.cos(turn), np.sin(turn)), axis=1)
        centres = (centres[:, None] + radii[:, None, None] * circle).reshape(-1, 2)
    return cv2.convexHull(centres.astype(np.float32))[:, 0].astype(np.float32, copy=False)


def _placed(
    part: Part, position: NDArray[np.int64], shape: tuple[int, ...]
) -> tuple[FloatArray, Window, FloatArray]:
    """Outline in the image, window of it and its shadow, and coverage of the window."""
    outline = (part.outline + position).astype(np.float32)
    reach = math.ceil(0.2 * float(np.ptp(outline, axis=0).max())) + 2
    window = window_of(outline, shape, margin=reach)
    if window[0].start == window[0].stop or window[1].start == window[1].stop:
        return outline, window, np.zeros((0, 0), dtype=np.float32)
    return outline, window, rasterise(outline, window)
