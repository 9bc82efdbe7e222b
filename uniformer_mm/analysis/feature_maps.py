"""Visualizations of what happens inside a model while it predicts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uniformer_mm.analysis.attention_maps import kept_tokens, token_attention, token_scores
from uniformer_mm.analysis.feature_recorder import (
    BlockRecord,
    FeatureRecorder,
    choose_blocks,
    find_backbone,
)
from uniformer_mm.analysis.overlays import (
    Layer,
    PrincipalComponents,
    affinity_kernels,
    draw_kernels,
    draw_panel,
    input_frames,
)
from uniformer_mm.apis.inference import Inferencer
from uniformer_mm.datasets.media import (
    Clip,
    Frame,
    Image,
    ImageFile,
    Video,
    VideoWriter,
    write_image,
)
from uniformer_mm.errors import UserError
from uniformer_mm.models.uniformer import DividedGlobalBlock
from uniformer_mm.models.uniformer_light import HourglassBlock, UniFormerLight
from uniformer_mm.visualization.drawing import GAP, side_by_side
from uniformer_mm.visualization.result_folder import stems_of

VIEWS: dict[str, tuple[int, ...]] = {
    "attention": (3, 4),
    "tokens": (3, 4),
    "features": (1, 2, 3, 4),
    "affinity": (1, 2),
}
"""Views and the stages that they show."""

STRONGEST = 6
"""Single channels shown of a local block."""

COLUMNS = 5
"""Panels per row by default, at most."""

TITLE_LINES = 4
"""Lines of text above the panels of videos."""

CLIP_RATE = 4.0
"""Frames per second of videos of a recognizer's input, which samples few frames of a video."""

LEVELS = (32, 223)
"""Grey levels of the ramp: interpolation and rounding stay within the range of 8 bits."""


@dataclass(frozen=True)
class Visualization:
    """Images that show one image or clip.

    Attributes:
        source: The image or clip.
        images: One for an image, one per sampled frame of a clip; (H, W, 3), BGR.
    """

    source: Frame | Clip
    images: list[NDArray[np.uint8]]


class FeatureVisualizer:
    """Draws attention, kept tokens or feature maps of a model over its input.

    The input is that of the backbone: resized, cropped or padded by the model's test pipeline. Of a
    clip with several views it is the first one, of a model for single frames (TSN) one frame.

    Args:
        inferencer: The model.
        view: One of `VIEWS` except 'affinity'.
        blocks: Names of blocks, see `choose_blocks`.
        point: Pixel x, y of the source whose token attends; the centre of the input by default.
        frame: Index of that token's frame among the sampled ones; the middle one by default.
        class_token: Show the attention of the class token of a lightweight model instead.
        head: One attention head, counted from 1, instead of the mean of all.
        columns: Panels per row; by default up to `COLUMNS`, in rows of about the same length.

    Raises:
        UserError: The model does not have what is asked for.
    """

    def __init__(
        self,
        inferencer: Inferencer,
        view: str = "attention",
        blocks: Sequence[str] | None = None,
        *,
        point: tuple[float, float] | None = None,
        frame: int | None = None,
        class_token: bool = False,
        head: int | None = None,
        columns: int | None = None,
    ) -> None:
        self.view = view
        self.columns = columns
        self.point = point
        self.frame = frame
        self.class_token = class_token
        self.head = head
        self._inferencer = inferencer
        self._backbone = find_backbone(inferencer.model)
        self._names = choose_blocks(self._backbone, blocks, VIEWS[view])
        self._maps: dict[tuple[int, ...], NDArray[np.float64]] = {}
        self._components: dict[str, PrincipalComponents] = {}
        self._video: Any = None
        self._check_options()

    def visualize(self, sources: Sequence[ImageFile | Video]) -> Iterator[Visualization]:
        """Predict images, frames and clips one after the other, and draw each.

        Raises:
            UserError: A source cannot be read, or the point is not in the model's input.
        """
        single_frame = self._inferencer.task.takes_clips and self._backbone.dims == 2
        sample = (self.frame or 0) if single_frame else 0
        with FeatureRecorder(self._backbone, self._names, sample) as recorder:
            for prediction in self._inferencer.stream(sources):
                yield Visualization(prediction.source, self._draw(recorder, prediction.source))
                recorder.clear()

    def _draw(self, recorder: FeatureRecorder, source: Frame | Clip) -> list[Image]:
        if source.video is None or source.video is not self._video:
            self._video, self._components = source.video, {}
        frames = self._frames(recorder)
        frame, *pixel = self.locate(source, frames)
        layers = []
        for record in recorder.records:
            stride = (2 if self._backbone.dims == 3 else 1, 2 ** (record.stage + 1))
            place = (frame // stride[0], *(at // stride[1] for at in pixel))[-len(record.grid) :]
            # Pixels after the last complete token belong to none; the last one is meant.
            place = tuple(min(at, side - 1) for at, side in zip(place, record.grid, strict=True))
            asks = self.view == "attention" and not self.class_token
            layers += self._layers(record, Layer("", stride, place if asks else None))
        kinds = 2 if self.view == "features" else 1
        panels = 1 + len(layers) // kinds
        columns = self.columns or -(-panels // -(-panels // COLUMNS))
        lines = None if source.video is None else TITLE_LINES
        title = f"model input, {frames.shape[2]} x {frames.shape[1]} pixels"
        original = replace(layers[0], title=title, colours=None, bar=None)
        images = []
        for index, image in enumerate(frames):
            parts = []
            for kind in range(kinds):
                shown = [original, *layers[kind::kinds]]
                drawn = [(layer.title, draw_panel(image, layer, index)) for layer in shown]
                parts.append(side_by_side(drawn, columns, lines))
                parts.append(np.full((GAP, parts[-1].shape[1], 3), 255, np.uint8))
            images.append(np.concatenate(parts[:-1]))
        return images

    def _layers(self, record: BlockRecord, layer: Layer) -> list[Layer]:
        """One layer, or for features two."""
        assert record.features is not None, "the block has run"
        if self.view == "attention":
            return [self._attention(record, layer)]
        if self.view == "tokens":
            kept = kept_tokens(record)
            scores = np.where(kept, token_scores(record), np.nan)
            share = f"keeps {kept.sum()} of {kept.size} tokens"
            return [layer.with_heat(f"block {record.name} {share}: scores", scores)]
        if record.name not in self._components:
            self._components[record.name] = PrincipalComponents(record.features)
        colours = self._components[record.name](record.features)
        norms = record.features.float().square().mean(-1).sqrt().cpu().numpy()
        title = f"after block {record.name}"
        return [
            layer.with_colours(f"{title}: first three principal components", colours),
            layer.with_heat(f"{title}: root mean square of the channels", norms),
        ]

    def _attention(self, record: BlockRecord, layer: Layer) -> Layer:
        attention = token_attention(record, layer.mark)
        heads = slice(None) if self.head is None else slice(self.head - 1, self.head)
        weights = attention.weights[heads].mean(0)
        head = f"head {self.head}" if self.head else f"mean of {len(attention.weights)} heads"
        parts = [f"block {record.name}, {_reach(record.block)}, {head}"]
        if attention.query == "representative":
            parts.append("dropped token: attention of its representative")
        parts += [
            f"{share[heads].mean():.1%} for the {name}" for name, share in attention.others.items()
        ]
        return layer.with_heat("; ".join(parts), weights, ".2%")

    def locate(self, source: Frame | Clip, frames: NDArray[np.uint8]) -> tuple[int, int, int]:
        """The frame and the pixel y, x of the input whose token attends.

        Args:
            source: Image or clip.
            frames: The model's input.

        Raises:
            UserError: They are not in the input.
        """
        count, height, width = frames.shape[:3]
        frame = count // 2 if self.frame is None or count == 1 else self.frame
        if frame >= count:
            raise UserError(f"frame {frame}: the model samples {count} frames of a clip, from 0")
        if self.point is None:
            return frame, height // 2, width // 2
        image = source.image if isinstance(source, Frame) else next(iter(source.frames()))
        size = image.shape[:2]
        where = f"{source.name}: the point {self.point[0]:g}, {self.point[1]:g}"
        if not all(0 <= at < side for at, side in zip(self.point, size[::-1], strict=True)):
            raise UserError(f"{where} is outside of the {size[1]} x {size[0]} pixels")
        if size not in self._maps:
            self._maps[size] = self._map_to_source(size)
        to_source = self._maps[size]
        x, y = np.linalg.solve(to_source[:, :2], np.array(self.point) - to_source[:, 2])
        if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
            corners = np.array([[0, 0, 1], [width - 1, height - 1, 1]]) @ to_source.T
            (left, top), (right, bottom) = np.rint(corners).astype(int)
            raise UserError(
                f"{where} is not in the model's input, which shows columns {left} to {right} and"
                f" rows {top} to {bottom}"
            )
        return frame, round(float(y)), round(float(x))

    def _map_to_source(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """The affine map (2, 3) from pixels x, y, 1 of the input to those of a source."""
        ramp = make_ramp(size)
        with FeatureRecorder(self._backbone) as recorder:
            self._inferencer.predict(
                np.stack([ramp] * 2) if self._inferencer.task.takes_clips else ramp
            )
        return find_affine_map(self._frames(recorder)[0], size)

    def _frames(self, recorder: FeatureRecorder) -> NDArray[np.uint8]:
        """Frames of the recorded input."""
        assert recorder.input is not None, "a forward pass has been recorded"
        preprocessor = self._inferencer.model.data_preprocessor
        channels = self._inferencer.task.channel_order(preprocessor)
        return input_frames(recorder.input, preprocessor, channels)

    def _check_options(self) -> None:
        is_light = isinstance(self._backbone, UniFormerLight)
        if (self.view == "tokens" or self.class_token) and not is_light:
            raise UserError(
                f"{type(self._backbone).__name__} keeps all tokens and has no class token:"
                " lightweight models, such as uniformer_xxs_128_in1k, have"
            )
        if self.view != "attention" and (self.point or self.class_token or self.head):
            raise UserError(
                f"a point, a head and the class token are for attention, not for {self.view}"
            )
        if self.class_token and self.point:
            raise UserError("a point or the class token: choose one of them")
        takes_clips = self._inferencer.task.takes_clips
        has_frames = takes_clips and (
            self._backbone.dims == 2 or (self.view == "attention" and not self.class_token)
        )
        if self.frame is not None and (self.frame < 0 or not has_frames):
            raise UserError(
                f"frame {self.frame}: frames, from 0, are for the attention of tokens of video"
                " recognizers, and for recognizers of single frames"
            )
        for name in self._names if self.head is not None else ():
            heads = self._backbone.embed_dims[int(name[0]) - 1] // self._backbone.head_dim
            if not 1 <= self.head <= heads:  # type: ignore[operator]
                raise UserError(f"head {self.head}: block {name} has heads 1 to {heads}")


def visualize_kernels(
    inferencer: Inferencer, blocks: Sequence[str] | None, columns: int | None = None
) -> Image:
    """An image of the kernels of local blocks, which do not depend on the input.

    Raises:
        UserError: There is no such block.
    """
    backbone = find_backbone(inferencer.model)
    recorder = FeatureRecorder(backbone, choose_blocks(backbone, blocks, VIEWS["affinity"]))
    return draw_kernels(
        {
            f"block {record.name}": affinity_kernels(record.block, STRONGEST)
            for record in recorder.records
        },
        columns,
    )


def save_visualizations(
    visualizations: Iterable[Visualization],
    sources: Sequence[ImageFile | Video],
    folder: Path,
    as_frames: bool,
) -> Iterator[Path]:
    """Write `NAME.png` for an image, `NAME.mp4` for a video or clip.

    Args:
        visualizations: Those of `FeatureVisualizer.visualize`.
        sources: All sources, for their names.
        folder: For the files.
        as_frames: Write `NAME/000000.png` and so on instead of videos.

    Yields:
        A file, each time an image has been written to it.

    Raises:
        UserError: A file cannot be written.
    """
    stems = stems_of([source.name for source in sources])
    for name, group in groupby(visualizations, key=lambda entry: entry.source.name):
        first = next(group)
        images = chain.from_iterable(entry.images for entry in chain([first], group))
        video = first.source.video
        is_clip = isinstance(first.source, Clip)
        single = video is None or (is_clip and len(first.images) == 1)
        if single or as_frames:
            for index, image in enumerate(images):
                path = folder / stems[name] / f"{index:06d}.png"
                path = folder / f"{stems[name]}.png" if single else path
                write_image(path, image)
                yield path
        else:
            assert video is not None
            path = folder / f"{stems[name]}.mp4"
            with VideoWriter(path, CLIP_RATE if is_clip else video.rate) as writer:
                for image in images:
                    writer.write(image)
                    yield path


def make_ramp(size: tuple[int, ...]) -> Image:
    """An image whose levels increase along x (blue and red) and along y (green).

    Its levels are positions in the source, also after resizing, cropping, padding and warping.

    Args:
        size: Height and width.
    """
    rows, columns = (np.linspace(*LEVELS, side) for side in size)
    ramp = np.empty((*size, 3))
    ramp[..., ::2] = columns[:, None]
    ramp[..., 1] = rows[:, None]
    return ramp.round().astype(np.uint8)


def find_affine_map(seen: Image, size: tuple[int, ...]) -> NDArray[np.float64]:
    """The affine map (2, 3) from pixels x, y, 1 of an input to those of its source.

    Args:
        seen: What a pipeline has made of `make_ramp(size)`, (H, W, 3).
        size: Height and width of the source.

    Raises:
        UserError: There is no such map.
    """
    levels = seen.astype(np.float64)
    step = (np.array(size[::-1]) - 1) / (LEVELS[1] - LEVELS[0])
    # Padding is darker, or its levels of blue and red differ.
    grey = np.abs(levels[..., 0] - levels[..., 2]) < 2
    rows, columns = np.nonzero(grey & (levels[..., :2].min(-1) >= LEVELS[0]))
    every = max(len(rows) // 10_000, 1)
    rows, columns = rows[::every], columns[::every]
    places = (levels[rows, columns, :2] - LEVELS[0]) * step
    pixels = np.stack([columns, rows], axis=1).astype(np.float64)
    # Borders, where the ramp is mixed with padding, are outliers.
    threshold = 2 * max(step.max(), 1)
    found, inliers = (
        cv2.estimateAffine2D(pixels, places, ransacReprojThreshold=threshold)
        if len(pixels) > 9
        else (None, np.zeros(0))
    )
    if found is None or np.sum(inliers) < len(pixels) / 2:
        raise UserError(
            "the point cannot be located in the model's input: its test pipeline does more than"
            " resize, crop, pad or warp. Leave out the point to use the centre"
        )
    return np.asarray(found, np.float64)


def _reach(block: Any) -> str:
    """Which tokens attend to each other."""
    if isinstance(block, HourglassBlock):
        return "global" if block.keep_ratio == 1 else "kept tokens"
    if isinstance(block, DividedGlobalBlock):
        return "within the frame"
    size = block.window_size
    return f"windows of {size} x {size}" if size else "global"
