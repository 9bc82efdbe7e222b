"""Pictures of what happens inside a model while it looks at images and videos."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uniformer_mm.apis.inference import Inferencer
from uniformer_mm.errors import UserError
from uniformer_mm.inspection.attention import kept_tokens, token_attention, token_scores
from uniformer_mm.inspection.drawing import (
    COLUMNS,
    Layer,
    colour_layer,
    heat_layer,
    kernel_picture,
    overview,
    paint,
    seen_frames,
)
from uniformer_mm.inspection.features import PrincipalColours, activation_norms, affinity_kernels
from uniformer_mm.inspection.locating import make_probe, read_probe
from uniformer_mm.inspection.recording import (
    BlockRecord,
    Recorder,
    choose_blocks,
    find_backbone,
)
from uniformer_mm.models.uniformer import DividedGlobalBlock
from uniformer_mm.models.uniformer_light import HourglassBlock, UniFormerLight
from uniformer_mm.predictions.folder import stems_of
from uniformer_mm.predictions.media import Clip, Frame, ImageFile, Video, VideoWriter, write_image
from uniformer_mm.predictions.painting import side_by_side

VIEWS: dict[str, tuple[int, ...]] = {
    "attention": (3, 4),
    "tokens": (3, 4),
    "features": (1, 2, 3, 4),
    "affinity": (1, 2),
}
"""What there is to see, and in which stages."""

STRONGEST = 6
"""Single channels shown of a local block."""

TITLE_LINES = 4
"""Room above the panels of videos."""

CLIP_RATE = 4.0
"""Frames per second of films of what a recogniser sees: it sees few, from all over a video."""


@dataclass(frozen=True)
class Sight:
    """Pictures of one image or clip.

    Attributes:
        source: What the model looked at.
        pictures: One of an image, one per frame that it saw of a clip; (H, W, 3), BGR.
    """

    source: Frame | Clip
    pictures: list[NDArray[np.uint8]]


class Onlooker:
    """Looks into a model while it predicts.

    What is painted is the input of the backbone: resized, cropped or padded as the model's test
    pipeline does it. Of a clip with several views it is the first one, of a model that sees single
    frames of a video (TSN) one frame.

    Args:
        inferencer: The model.
        view: One of `VIEWS` except 'affinity'.
        blocks: Names of blocks, see `choose_blocks`.
        point: Pixel x, y of the source whose token is asked; the centre of the input by default.
        frame: Of a clip, in which frame that the model sees, from 0; the middle one by default.
        class_token: Ask the class token of a light model instead.
        head: One attention head, counted from 1, instead of the mean of all.

    Raises:
        UserError: There is no such thing in this model.
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
    ) -> None:
        self.view = view
        self.point = point
        self.frame = frame
        self.class_token = class_token
        self.head = head
        self._inferencer = inferencer
        self._backbone = find_backbone(inferencer.model)
        self._kinds = 2 if view == "features" else 1
        self._names = choose_blocks(self._backbone, blocks, VIEWS[view])
        self._maps: dict[tuple[int, ...], NDArray[np.float64]] = {}
        self._colours: dict[str, PrincipalColours] = {}
        self._video: Any = None
        self._check_options()

    def look(self, sources: Sequence[ImageFile | Video]) -> Iterator[Sight]:
        """Pictures of images, frames and clips, one after the other.

        Raises:
            UserError: A source cannot be read, or the model does not see the point.
        """
        is_video = self._backbone.dims == 3
        sample = 0 if is_video or not self._inferencer.task.takes_clips else self.frame or 0
        with Recorder(self._backbone, self._names, sample) as recorder:
            for prediction in self._inferencer.stream(sources):
                yield Sight(prediction.source, self._pictures(recorder, prediction.source))
                recorder.clear()

    def _pictures(self, recorder: Recorder, source: Frame | Clip) -> list[NDArray[np.uint8]]:
        if source.video is None or source.video is not self._video:
            self._video, self._colours = source.video, {}
        frames = self._seen(recorder)
        chosen = self.locate(source, frames)
        entries: list[_Entry] = []
        for record in recorder.records:
            frames_per_token = 2 if self._backbone.dims == 3 else 1
            stride = (frames_per_token, 4 * 2 ** (record.stage - 1))
            asks = self.view == "attention" and not self.class_token
            place = _place(chosen, stride, record.grid) if asks else None
            entries += [_Entry(layer, stride, place) for layer in self._layers(record, place)]
        title = f"what the model sees, {frames.shape[2]} x {frames.shape[1]} pixels"
        kinds = [entries[kind :: self._kinds] for kind in range(self._kinds)]
        columns = _columns(1 + len(kinds[0]))
        lines = None if source.video is None else TITLE_LINES
        pictures = []
        for index, image in enumerate(frames):
            first = (title, overview(image, index, entries[0].stride, entries[0].mark))
            rows = []
            for kind in kinds:
                panels = [
                    (layer.title, paint(image, layer, index, stride, mark))
                    for layer, stride, mark in kind
                ]
                rows.append(side_by_side([first, *panels], columns, lines))
            pictures.append(np.concatenate(rows))
        return pictures

    def _layers(self, record: BlockRecord, place: tuple[int, ...] | None) -> list[Layer]:
        assert record.features is not None, "the block has run"
        if self.view == "attention":
            return [self._attention(record, place)]
        if self.view == "tokens":
            kept = kept_tokens(record)
            scores = np.where(kept, token_scores(record), np.nan)
            share = f"keeps {kept.sum()} of {kept.size} tokens"
            return [heat_layer(f"block {record.name} {share}; bright: high score", scores)]
        if record.name not in self._colours:
            self._colours[record.name] = PrincipalColours(record.features)
        colours = self._colours[record.name]
        norms = activation_norms(record.features)
        return [
            colour_layer(
                f"behind block {record.name}: first three principal components",
                colours(record.features),
            ),
            heat_layer(
                f"behind block {record.name}: root mean square of the channels, up to"
                f" {norms.max():.3g}",
                norms,
            ),
        ]

    def _attention(self, record: BlockRecord, place: tuple[int, ...] | None) -> Layer:
        attention = token_attention(record, place)
        heads = slice(None) if self.head is None else slice(self.head - 1, self.head)
        weights = attention.weights[heads].mean(0)
        who = f"head {self.head}" if self.head else f"mean of {len(attention.weights)} heads"
        parts = [f"block {record.name}, {_reach(record.block)}, {who}"]
        if attention.asking == "representative":
            parts.append("not kept: its representative is asked")
        parts.append(f"up to {np.nanmax(weights):.2%} for a token")
        parts += [
            f"{share[heads].mean():.1%} for the {name}" for name, share in attention.others.items()
        ]
        return heat_layer("; ".join(parts), weights)

    def locate(self, source: Frame | Clip, frames: NDArray[np.uint8]) -> tuple[int, int, int]:
        """The frame and the pixel y, x of the input that the user asks about.

        Args:
            source: What the model looked at.
            frames: What it saw of it.

        Raises:
            UserError: It does not see that.
        """
        count, height, width = frames.shape[:3]
        frame = count // 2 if self.frame is None or count == 1 else self.frame
        if frame >= count:
            raise UserError(f"frame {frame}: the model sees {count} frames of a clip, from 0")
        if self.point is None:
            return frame, height // 2, width // 2
        size = _size(source)
        if not all(0 <= at < side for at, side in zip(self.point, size[::-1], strict=True)):
            raise UserError(
                f"{source.name}: the point {self.point[0]:g}, {self.point[1]:g} is outside of the"
                f" {size[1]} x {size[0]} pixels"
            )
        if size not in self._maps:
            self._maps[size] = self._source_map(size)
        to_source = self._maps[size]
        x, y = np.linalg.solve(to_source[:, :2], np.array(self.point) - to_source[:, 2])
        if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
            corners = np.array([[0, 0, 1], [width - 1, height - 1, 1]]) @ to_source.T
            (left, top), (right, bottom) = np.rint(corners).astype(int)
            raise UserError(
                f"{source.name}: the model does not see the point {self.point[0]:g},"
                f" {self.point[1]:g}; it sees columns {left} to {right} and rows {top} to {bottom}"
            )
        return frame, round(float(y)), round(float(x))

    def _source_map(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """The affine map (2, 3) from pixels x, y, 1 of the input to those of a source.

        Raises:
            UserError: There is no such map.
        """
        probe = make_probe(size)
        with Recorder(self._backbone, []) as recorder:
            self._inferencer.predict(np.stack([probe] * 2) if self._takes_clips else probe)
        return read_probe(self._seen(recorder)[0], size)

    def _seen(self, recorder: Recorder) -> NDArray[np.uint8]:
        """Frames of the recorded input."""
        assert recorder.input is not None, "a forward pass has been recorded"
        preprocessor = self._inferencer.model.data_preprocessor
        channels = self._inferencer.task.channel_order(preprocessor)
        return seen_frames(recorder.input, preprocessor, channels)

    @property
    def _takes_clips(self) -> bool:
        return self._inferencer.task.takes_clips

    def _check_options(self) -> None:
        is_light = isinstance(self._backbone, UniFormerLight)
        if (self.view == "tokens" or self.class_token) and not is_light:
            raise UserError(
                f"{type(self._backbone).__name__} keeps all tokens and has no class token: light"
                " models, such as uniformer_xxs_128_in1k, choose among them"
            )
        if self.view != "attention" and (self.point or self.class_token or self.head):
            raise UserError(
                f"a point, a head and the class token are for attention, not for {self.view}"
            )
        if self.class_token and self.point:
            raise UserError("a point or the class token: choose one of them")
        single = self._takes_clips and self._backbone.dims == 2
        asks = self._takes_clips and self.view == "attention" and not self.class_token
        if self.frame is not None and (self.frame < 0 or not (single or asks)):
            raise UserError(
                f"frame {self.frame}: frames, from 0, are for the attention of tokens of video"
                " recognisers, and for recognisers of single frames"
            )
        if self.head is None:
            return
        for name in self._names:
            heads = (
                self._backbone.embed_dims[int(name.split(".")[0]) - 1] // self._backbone.head_dim
            )
            if not 1 <= self.head <= heads:
                raise UserError(f"head {self.head}: block {name} has heads 1 to {heads}")


def look_at_kernels(inferencer: Inferencer, blocks: Sequence[str] | None) -> NDArray[np.uint8]:
    """A picture of the kernels of local blocks, which are the same for all images.

    Raises:
        UserError: There is no such block.
    """
    backbone = find_backbone(inferencer.model)
    records = Recorder(backbone, choose_blocks(backbone, blocks, VIEWS["affinity"])).records
    return kernel_picture(
        {f"block {record.name}": affinity_kernels(record.block, STRONGEST) for record in records}
    )


def save_sights(
    sights: Iterable[Sight], sources: Sequence[ImageFile | Video], folder: Path, as_frames: bool
) -> Iterator[Path]:
    """Write `NAME.png` of an image, `NAME.mp4` of a video or clip.

    Args:
        sights: What `Onlooker.look` yields.
        sources: All that is looked at, for their names.
        folder: For the files.
        as_frames: Write `NAME/000000.png` and so on instead of videos.

    Yields:
        A picture's file, each time one is in it.

    Raises:
        UserError: A file cannot be written.
    """
    stems = stems_of([source.name for source in sources])
    for name, group in groupby(sights, key=lambda sight: sight.source.name):
        first = next(group)
        pictures = chain.from_iterable(sight.pictures for sight in chain([first], group))
        video = first.source.video
        is_clip = isinstance(first.source, Clip)
        if video is None or (is_clip and len(first.pictures) == 1):
            path = folder / f"{stems[name]}.png"
            for picture in pictures:
                write_image(path, picture)
                yield path
        elif as_frames:
            for index, picture in enumerate(pictures):
                path = folder / stems[name] / f"{index:06d}.png"
                write_image(path, picture)
                yield path
        else:
            path = folder / f"{stems[name]}.mp4"
            with VideoWriter(path, CLIP_RATE if is_clip else video.rate) as writer:
                for picture in pictures:
                    writer.write(picture)
                    yield path


class _Entry(NamedTuple):
    """A layer, the frames and pixels per token of its map, and the token to mark."""

    layer: Layer
    stride: tuple[int, int]
    mark: tuple[int, ...] | None


def _place(
    chosen: tuple[int, int, int], stride: tuple[int, int], grid: tuple[int, ...]
) -> tuple[int, ...]:
    """The token (t,) y, x at a frame and a pixel; the last one where pixels fill no token."""
    frame, y, x = chosen
    place = (frame // stride[0], y // stride[1], x // stride[1])[-len(grid) :]
    return tuple(min(at, side - 1) for at, side in zip(place, grid, strict=True))


def _columns(panels: int) -> int:
    """Columns of about equally long rows."""
    rows = -(-panels // COLUMNS)
    return -(-panels // rows)


def _reach(block: Any) -> str:
    """Which tokens see each other."""
    if isinstance(block, HourglassBlock):
        return "global" if block.keep_ratio == 1 else "kept tokens"
    if isinstance(block, DividedGlobalBlock):
        return "within the frame"
    size = block.window_size
    return f"windows of {size} x {size}" if size else "global"


def _size(source: Frame | Clip) -> tuple[int, ...]:
    """Height and width of a source, in pixels."""
    image = source.image if isinstance(source, Frame) else next(iter(source.frames()))
    return image.shape[:2]
