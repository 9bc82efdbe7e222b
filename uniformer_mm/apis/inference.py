"""`Inferencer`: predictions for images and videos from Python."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from logging import WARNING
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from numpy.typing import NDArray
from torch import Tensor, nn

from uniformer_mm.apis.config import load_config, override, set_attention
from uniformer_mm.apis.dataset_meta import CLASS_LISTS, check_class_count
from uniformer_mm.apis.diagnosis import building
from uniformer_mm.apis.models import load_model
from uniformer_mm.apis.slicing import check_slices, detect_in_slices
from uniformer_mm.datasets.error_context import unusable
from uniformer_mm.datasets.finding import Sources, find_sources, is_image
from uniformer_mm.datasets.media import MAX_PIXELS, Clip, Frame, ImageFile, Video, read_image
from uniformer_mm.errors import UserError, add_hint, is_in_own_code, listing, printable
from uniformer_mm.models.bf16 import to_bf16
from uniformer_mm.models.fuse import fuse
from uniformer_mm.tasks import task_of
from uniformer_mm.torch_internals import has_fast_bf16
from uniformer_mm.visualization import Prediction
from uniformer_mm.visualization.boxes import Boxes, as_boxes, persons, read_boxes

CAMERA_CLIP = 64
"""Default clip length of a camera for video recognition, in frames."""

DTYPES = ("fp32", "bf16")
"""Types in which a model can predict."""

MAX_RATIO = 1000
"""Maximal ratio of the sides of an image, whose shorter side pipelines enlarge."""


class ModelError(UserError):
    """An error that the model raised on an input; its cause is that error."""


class Inferencer:
    """A model of any task with the steps from a file to a prediction.

    Args:
        model: Name of a model of the zoo, a config file, a config, or a model as `get_model` and
            the codebases' `init_model` functions return it.
        checkpoint: File, URL, `hf://OWNER/REPOSITORY/FILE` or name of a model of the zoo. For a
            model of the zoo the published weights are the default.
        device: 'auto' (a GPU if there is one), or a PyTorch device name.
        batch_size: Images, person crops or clips per forward pass. Only inputs of the same size
            share one, so that a prediction does not depend on the rest of its batch.
        threshold: Score threshold of predictions; the default is 0.3 for objects and keypoints and
            0 for classes.
        classes: Class names that replace those of the checkpoint and the config: the names, a file
            with one per line, or 'kinetics400', 'kinetics600', 'sthv1', 'sthv2', 'ucf101' or
            'hmdb51' in the order of the official checkpoints.
        people: Person boxes for pose estimation and action detection: a detector, or a file that
            `read_boxes` takes. Without it, the box is the whole image.
        random_weights: Run without a checkpoint, for a trial.
        fused: Predict with a fused copy of the model for faster inference, see `fuse`.
        slices: For large images: side in pixels of the slices in which a detector (through SAHI) or
            a segmenter (in mmseg's mode 'slide') predicts, and the overlap of neighbours as a
            fraction of it, such as (640, 0.2). Segmenters then get images at their own size.
        attention: Attention of the backbone ('global', 'window', 'hybrid') instead of the config's.
        window_size: Side of its windows in tokens of 16 pixels instead of the config's.
        dtype: 'fp32', or 'bf16' for a fused copy that runs in bfloat16, see `to_bf16`.
        cfg_options: Config settings to override, by dotted name.
        max_pixels: Maximal number of pixels of an image file; larger ones are not decoded.

    Raises:
        UserError: The model cannot be built from the arguments.
        CheckpointError: The weights cannot be loaded, or do not fit.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module,
        checkpoint: str | Path | None = None,
        *,
        device: str = "auto",
        batch_size: int = 1,
        threshold: float | None = None,
        classes: str | Path | Sequence[str] | None = None,
        people: "Inferencer | str | Path | None" = None,
        random_weights: bool = False,
        fused: bool = False,
        slices: tuple[int, float] | None = None,
        attention: str | None = None,
        window_size: int | None = None,
        dtype: str = "fp32",
        cfg_options: dict[str, Any] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"the batch size must be at least 1, got {batch_size}")
        self.device = find_device(device)
        check_dtype(dtype, self.device)
        self.batch_size = batch_size
        self.max_pixels = max_pixels
        self.cfg = _config_of(model)
        override(self.cfg, cfg_options)
        set_attention(self.cfg, attention, window_size)
        self.task = task_of(self.cfg)
        if people is not None and not self.task.takes_boxes:
            raise UserError(
                "person boxes are for pose estimation and action detection, not for"
                f" {self.task.scope}"
            )
        in_config = (attention, window_size, slices if self.task.scope == "mmseg" else None)
        if isinstance(model, nn.Module) and any(setting is not None for setting in in_config):
            raise UserError(
                "attention, window_size and the slices of a segmenter are settings of its config:"
                " give the config and the checkpoint, not a model"
            )
        self.people = read_boxes(people) if isinstance(people, str | Path) else people
        default = self.task.prediction_type.default_threshold
        self.threshold = default if threshold is None else threshold
        if not 0 <= self.threshold <= 1:
            raise UserError(f"the score threshold must be in [0, 1], got {threshold}")
        self.slices = slices
        if slices is not None:
            check_slices(*slices)
            self.task.use_slices(self.cfg, *slices)
        if not isinstance(model, nn.Module):
            model = load_model(self.cfg, _checkpoint_of(model, checkpoint, random_weights))
        if fused or dtype == "bf16":
            model = to_bf16(model) if dtype == "bf16" else fuse(model)
        self.model: Any = model.to(self.device).eval()
        self.meta: dict[str, Any] = dict(getattr(model, "dataset_meta", {}))
        if classes is not None:
            self.meta["classes"] = read_classes(classes)
            where = classes if isinstance(classes, str | Path) else "classes"
            check_class_count(self.cfg, self.meta, where)
        with building(), DefaultScope.overwrite_default_scope(self.task.scope):
            self._pipeline = Compose(self.task.inference_pipeline(self.cfg))

    def predict(
        self,
        source: str | Path | NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        boxes: Sequence[Sequence[float]] | Boxes | None = None,
    ) -> Prediction:
        """Predict on one image, or on one video with a video recognizer.

        Args:
            source: A file; an image (H, W, 3), uint8, BGR as `cv2.imread` returns it; or for a
                recognizer the frames of a clip, an array (T, H, W, 3) or a sequence of images.
            boxes: Person boxes for pose estimation, or in the middle frame for action detection,
                (N, 4) as x1, y1, x2, y2 in pixels.

        Raises:
            UserError: The source cannot be read, or the model does not take it.
        """
        item = self._read(source) if isinstance(source, str | Path) else self._from_array(source)
        if boxes is not None:
            if not self.task.takes_boxes:
                raise UserError(
                    f"boxes are for pose estimation and action detection, not for {self.task.scope}"
                )
            item = replace(item, boxes=as_boxes(boxes))
        faults: list[UserError] = []
        predictions = self._predict([item], faults)
        if faults:
            raise _cause(faults[0])
        return predictions[0]

    def stream(
        self,
        sources: Iterable[ImageFile | Video] | Sequence[str | Path | int] | str | Path | int,
        clip_length: int | None = None,
        faults: list[UserError] | None = None,
    ) -> Iterator[Prediction]:
        """Predict on files, folders and cameras, one after the other.

        A model of images takes videos frame by frame. A source that cannot be read, or whose shape
        the pipeline or the model refuses, does not stop the others.

        Args:
            sources: Files, folders, camera numbers, or the result of `find`.
            clip_length: Frames of a clip, at least 1. By default a recognizer takes whole files,
                and `CAMERA_CLIP` frames of a camera.
            faults: Collects the errors of sources without a prediction. Without it they are raised
                at the end as one error.

        Raises:
            UserError: There is no such source, or, after all others, sources cannot be read or are
                not what the model takes.
        """
        if clip_length is not None and clip_length < 1:
            raise UserError(f"the clip length must be at least 1 frame, got {clip_length}")
        if isinstance(sources, str | Path | int):
            sources = [sources]
        found: Any = sources if isinstance(sources, Sources) else list(sources)
        if not all(isinstance(entry, ImageFile | Video) for entry in found):
            found = self.find(found)
        collected = [] if faults is None else faults
        collected += getattr(found, "faults", ())
        return self._stream(found, clip_length, collected, raises=faults is None)

    def _stream(
        self,
        sources: Iterable[ImageFile | Video],
        clip_length: int | None,
        faults: list[UserError],
        raises: bool,
    ) -> Iterator[Prediction]:
        items = self._items(sources, clip_length, faults)
        succeeded = False
        while batch := list(islice(items, self.batch_size)):
            predictions = self._predict(batch, faults)
            succeeded = succeeded or bool(predictions)
            yield from predictions
        refused = next((fault for fault in faults if isinstance(fault, ModelError)), None)
        if refused and not succeeded:
            raise _cause(refused)  # the model is at fault, not the files
        if raises and faults:
            raise UserError(listing(faults)) from faults[0]

    def find(self, paths: Sequence[str | Path | int], frames: bool = False) -> Sources:
        """Find files and cameras that the model takes; others in folders are skipped.

        Args:
            paths: Files, folders and camera numbers.
            frames: Take every folder of images as a video. A recognizer always does so where the
                images are numbered.

        Raises:
            UserError: There is no such file, or nothing in a folder. The errors of files that
                cannot be read are in the result.
        """
        return find_sources(paths, self.task.takes_clips, frames, self.max_pixels)

    @torch.inference_mode()
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the model's input for an image of 640 x 480 pixels, or a clip of such frames.

        After the data preprocessor, with batch size 1: images (B, C, H, W), video segments
        (B, N, C, H, W), or views of clips (B, N, C, T, H, W).
        """
        shape = (480, 640, 3)
        black = np.zeros((CAMERA_CLIP, *shape) if self.task.takes_clips else shape, np.uint8)
        return tuple(self._normalized(self._from_array(black)).shape)

    @torch.inference_mode()
    def inputs(self, path: str | Path) -> Tensor:
        """The model's input for an image or a video, after the data preprocessor.

        Raises:
            UserError: The file cannot be read, or the pipeline does not take it.
        """
        return self._normalized(self._read(path))

    def _normalized(self, item: Frame | Clip) -> Tensor:
        with DefaultScope.overwrite_default_scope(self.task.scope):
            batch = pseudo_collate(self._inputs_of(item))
        inputs: Tensor = self.model.data_preprocessor(batch)["inputs"]
        return inputs

    def _read(self, path: str | Path) -> Frame | Clip:
        if self.task.takes_clips:
            sources = self.find([path], frames=True)
            if sources.faults:
                raise sources.faults[0]
            if len(sources) != 1 or not isinstance(sources[0], Video):
                raise UserError(f"{path} has {len(sources)} videos: use stream()")
            return next(self._clips(sources[0], None))
        if Path(path).is_dir():
            raise UserError(f"{path} is a folder: use stream()")
        if Path(path).is_file() and not is_image(path):
            raise UserError(f"{path} is not an image: for videos, use stream()")
        return Frame(Path(path).name, read_image(path, self.max_pixels))

    def _from_array(self, source: NDArray[np.uint8] | Sequence[Any]) -> Frame | Clip:
        try:
            array = np.asarray(source)
        except ValueError as error:  # images of several sizes
            raise UserError("the frames of a clip must have the same size (H, W, 3)") from error
        axes = 4 if self.task.takes_clips else 3
        if array.ndim != axes or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
            expected = "(T, H, W, 3)" if self.task.takes_clips else "(H, W, 3)"
            raise UserError(
                f"expected an array {expected} of uint8, got {array.shape} of {array.dtype}"
            )
        return Clip("array", images=array) if self.task.takes_clips else Frame("array", array)

    def _items(
        self,
        sources: Iterable[ImageFile | Video],
        clip_length: int | None,
        faults: list[UserError],
    ) -> Iterator[Frame | Clip]:
        for source in sources:
            try:
                if isinstance(source, Video) and self.task.takes_clips:
                    default = CAMERA_CLIP if source.length is None else None
                    yield from self._clips(source, clip_length or default)
                else:
                    yield from source.frames()
            except UserError as error:
                faults.append(_without_frames(error))

    def _clips(self, video: Video, length: int | None) -> Iterator[Clip]:
        """The clips of a video at the frame rate of the model's test data."""
        rate = self.task.frame_rate(self.cfg)
        if rate is not None:
            video.resample(rate)
        return video.clips(length)

    def _predict(self, items: Sequence[Frame | Clip], faults: list[UserError]) -> list[Prediction]:
        """Predictions of a few images or clips; `faults` collects the errors of the others."""
        if self.people is not None:
            items = self._with_boxes(items, faults)
        if self.slices is not None and self.task.scope == "mmdet":
            return self._predict_in_slices(items, self.slices, faults)
        return self._predict_whole(items, faults)

    def _predict_in_slices(
        self, frames: Sequence[Any], slices: tuple[int, float], faults: list[UserError]
    ) -> list[Prediction]:
        """Detections of images in slices; an image of which a slice fails has none."""

        def detect(parts: Sequence[Frame]) -> list[Any]:
            failed: list[UserError] = []
            found = self._predict_whole(parts, failed)
            if failed:
                raise failed[0]
            return found

        predictions: list[Prediction] = []
        for frame in frames:
            try:
                predictions.append(detect_in_slices(frame, *slices, detect))
            except UserError as error:
                faults.append(_without_frames(error))
        return predictions

    def _predict_whole(
        self, items: Sequence[Frame | Clip], faults: list[UserError]
    ) -> list[Prediction]:
        """Predictions of a few images or clips as a whole."""
        inputs: dict[int, list[Any]] = {}
        with DefaultScope.overwrite_default_scope(self.task.scope):
            for index, item in enumerate(items):
                try:
                    inputs[index] = self._inputs_of(item)
                except UserError as error:
                    faults.append(_without_frames(error))
            outputs = iter(self._forward([entry for group in inputs.values() for entry in group]))
        predictions = []
        for index, group in inputs.items():
            item, samples = items[index], list(islice(outputs, len(group)))
            errors = [sample for sample in samples if isinstance(sample, Exception)]
            if errors:
                faults.append(ModelError(unusable(item.name, errors[0])))
                faults[-1].__cause__ = errors[0]
                continue
            self.task.finish(self.model, samples)
            kind = self.task.prediction_type
            predictions.append(kind.from_samples(item, samples, self.meta, self.threshold))
        return predictions

    def _inputs_of(self, item: Frame | Clip) -> list[Any]:
        """The model's inputs for an image or a clip.

        Raises:
            UserError: A step of the pipeline fails on it, or would need a multiple of its memory.
        """
        if isinstance(item, Frame):
            shorter, longer = sorted(item.image.shape[:2])
            if longer > MAX_RATIO * shorter:
                raise UserError(
                    f"{printable(item.name)} is not predicted: its sides of {longer} and {shorter}"
                    f" pixels have a ratio above {MAX_RATIO}. Crop it"
                )
        try:
            return [self._pipeline(entry) for entry in self.task.pipeline_inputs(item, self.meta)]
        except UserError:
            raise
        except Exception as error:
            if is_in_own_code(error):
                add_hint(error, f"raised with {item.name}")
                raise
            raise UserError(unusable(item.name, error)) from error

    @torch.inference_mode()
    def _forward(self, inputs: Sequence[Any]) -> list[Any]:
        """The model's data sample, or its error, for each input."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, entry in enumerate(inputs):
            by_shape.setdefault(tuple(entry["inputs"].shape), []).append(index)
        outputs: list[Any] = [None] * len(inputs)
        for indices in by_shape.values():
            for start in range(0, len(indices), self.batch_size):
                chosen = indices[start : start + self.batch_size]
                batch = pseudo_collate([inputs[index] for index in chosen])
                try:
                    samples = self.model.test_step(batch)
                except Exception as error:  # of memory, or of a size that the model does not take
                    samples = [error] * len(chosen)
                for index, output in zip(chosen, samples, strict=True):
                    outputs[index] = output
        return outputs

    def _with_boxes(self, items: Sequence[Any], faults: list[UserError]) -> list[Any]:
        """Images, or clips by their middle frames, with their person boxes."""
        boxed: list[tuple[Any, Boxes]]
        if isinstance(self.people, Inferencer):
            frames = [i if isinstance(i, Frame) else Frame(i.name, i.image) for i in items]
            owners = {id(frame): item for frame, item in zip(frames, items, strict=True)}
            detected = self.people._predict(frames, faults)
            boxed = [(owners[id(found.source)], persons(found)) for found in detected]
        else:
            listed = self.people or {}
            keys = [(item.name, getattr(item, "index", None)) for item in items]
            found_boxes = [listed.get(key, as_boxes([])) for key in keys]
            boxed = list(zip(items, found_boxes, strict=True))
        return [
            item if item.boxes is not None else replace(item, boxes=found) for item, found in boxed
        ]


def _cause(fault: UserError) -> BaseException:
    """The error to raise for a fault: that of the model, if it refused the input."""
    return fault.__cause__ if isinstance(fault, ModelError) and fault.__cause__ else fault


def _without_frames(error: UserError) -> UserError:
    """An error without the traceback, which would keep images in memory."""
    if error.__cause__:
        error.__cause__.__traceback__ = None
    return error.with_traceback(None)


def find_device(name: str) -> str:
    """The name of a PyTorch device; 'auto' is a GPU if there is one.

    Raises:
        UserError: There is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return name


def check_dtype(dtype: str, device: str) -> None:
    """Check that a device runs faster in a type of `Inferencer`, or as fast.

    Raises:
        UserError: It does not, or there is no such type.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if dtype == "bf16" and device == "cpu" and not has_fast_bf16():
        raise UserError(
            "bf16 would be slower than fp32: this CPU has neither AMX nor AVX512-BF16. Use fp32"
        )


def read_classes(names: str | Path | Sequence[str]) -> list[str]:
    """Class names: as given, from a file with one per line, or from a list of this package.

    Raises:
        UserError: There is no such file or list.
    """
    if not isinstance(names, str | Path):
        return [str(name) for name in names]
    shipped = CLASS_LISTS / f"{names}.txt"
    path = shipped if shipped.is_file() else Path(names)
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(path.stem for path in CLASS_LISTS.glob("*.txt")))
        raise UserError(
            f"{names} is neither a file with a class name per line nor one of {known}"
        ) from error


def _config_of(model: str | Path | Config | nn.Module) -> Config:
    """A config that may be changed."""
    if isinstance(model, nn.Module):
        model = getattr(model, "cfg", None) or Config({})
    if isinstance(model, Config):
        return copy.deepcopy(model)
    return load_config(model)


def _checkpoint_of(
    model: str | Path | Config, checkpoint: str | Path | None, random_weights: bool
) -> str | Path | None:
    """The checkpoint to load, None for random weights."""
    if random_weights and checkpoint is not None:
        raise UserError("random weights and a checkpoint exclude each other: choose one")
    if random_weights:
        print_log("random weights: the predictions are meaningless", "current", WARNING)
        return None
    if checkpoint is None and (isinstance(model, Config) or Path(model).suffix == ".py"):
        name = "the config" if isinstance(model, Config) else model
        raise UserError(f"{name} needs a checkpoint: give one, or ask for random weights")
    return checkpoint or str(model)
