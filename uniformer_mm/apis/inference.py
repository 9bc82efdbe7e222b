"""Predictions from Python in a few lines."""

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
from torch import nn

from uniformer_mm.apis.launch import building, load_config
from uniformer_mm.apis.models import load_model
from uniformer_mm.checkpoints.metadata import CLASS_LISTS, check_class_count
from uniformer_mm.datasets.reading import unusable
from uniformer_mm.errors import UserError, add_hint, is_in_own_code, listing, printable
from uniformer_mm.models.fuse import fuse
from uniformer_mm.predictions import Prediction
from uniformer_mm.predictions.boxes import Boxes, as_boxes, persons, read_boxes
from uniformer_mm.predictions.finding import Sources, find_sources, is_image
from uniformer_mm.predictions.media import (
    MAX_PIXELS,
    Clip,
    Frame,
    ImageFile,
    Video,
    read_image,
)
from uniformer_mm.tasks import task_of
from uniformer_mm.zoo import MIM, find_model

CAMERA_CLIP = 64
"""Frames of a camera that a recogniser looks at as a whole, unless the user says otherwise."""


MAX_RATIO = 1000
"""Of the sides of an image: pipelines enlarge the shorter side to hundreds of pixels."""


class ModelError(UserError):
    """A model's error on an input; its cause is the error."""


class Inferencer:
    """A model of any task with all that is between a file and a prediction.

    Args:
        model: Name of a model of the zoo, a config file, a config, or a model as `get_model` and
            the codebases' `init_model` functions return it.
        checkpoint: File, URL, `hf://OWNER/REPOSITORY/FILE` or name of a model of the zoo. For a
            model of the zoo the published weights are the default.
        device: 'auto' (a GPU if there is one), or torch's name of a device.
        batch_size: Images, crops of people or clips that go through the model at once. Only inputs
            of the same size do, so that a prediction does not depend on its neighbours.
        threshold: Score below which predictions are left out: of an object 0.3, of a joint 0.3, of
            a class 0 by default.
        classes: Names of the classes where the checkpoint and the config know none or wrong ones:
            the names, a file with one per line, or 'kinetics400', 'kinetics600', 'sthv1', 'sthv2',
            'ucf101' or 'hmdb51' in the authors' order.
        people: Where people are, for pose estimation: a detector, or a file that `read_boxes`
            takes. Without it an image is taken for one person.
        random_weights: Do without a checkpoint, to try things out.
        fused: Predict with a fused copy of the model, which is quicker: `fuse` says what that is.
        cfg_options: Settings of the config that are overridden, by dotted name.
        max_pixels: Pixels from which on an image file is not decoded.

    Raises:
        UserError: The model cannot be built from what is given.
        CheckpointError: The weights cannot be had, or do not fit.
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
        cfg_options: dict[str, Any] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"a batch has at least one input, not {batch_size}")
        self.device = find_device(device)
        self.batch_size = batch_size
        self.max_pixels = max_pixels
        self.cfg = _config_of(model)
        self._name = self.cfg.filename or "the config"
        self._override(cfg_options or {})
        self.task = task_of(self.cfg)
        if people is not None and self.task.scope != "mmpose":
            raise UserError(f"people are for pose estimation, not for {self.task.scope}")
        self.people = read_boxes(people) if isinstance(people, str | Path) else people
        default = self.task.prediction_type.default_threshold
        self.threshold = default if threshold is None else threshold
        if not 0 <= self.threshold <= 1:
            raise UserError(f"the threshold is from 0 to 1, not {threshold}")
        if not isinstance(model, nn.Module):
            checkpoint = self._checkpoint_of(model, checkpoint, random_weights)
            model = load_model(self.cfg, checkpoint)
        self.model: Any = (fuse(model) if fused else model).to(self.device).eval()
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
        """What a model of images says about one, or a recogniser about one video.

        Args:
            source: A file; an image (H, W, 3), uint8, BGR as `cv2.imread` gives it; or for a
                recogniser the frames of a clip, an array (T, H, W, 3) or a sequence of images.
            boxes: Where people are, (N, 4) as x1, y1, x2, y2 in pixels; for pose estimation.

        Raises:
            UserError: It cannot be read, or is not what the model takes.
        """
        if not isinstance(source, str | Path):
            item = self._from_array(source)
        elif Path(source).is_dir() and not self.task.takes_clips:
            raise UserError(f"{source} is a folder: use stream()")
        elif self.task.takes_clips:
            sources = self.find([source], frames=True)
            if sources.faults:
                raise sources.faults[0]
            (video, *others) = sources
            if others or not isinstance(video, Video):
                raise UserError(f"{source} has {len(sources)} videos: use stream()")
            item = next(self._clips(video, None))
        elif Path(source).is_file() and not is_image(source):
            raise UserError(f"{source} is not an image: for videos, use stream()")
        else:
            item = Frame(Path(source).name, read_image(source, self.max_pixels))
        if boxes is not None:
            if self.task.scope != "mmpose" or not isinstance(item, Frame):
                raise UserError(f"boxes are for pose estimation, not for {self.task.scope}")
            item = replace(item, boxes=as_boxes(boxes))
        (prediction,) = self._predict([item])
        return prediction

    def stream(
        self,
        sources: Iterable[ImageFile | Video] | Sequence[str | Path | int] | str | Path | int,
        clip_length: int | None = None,
        faults: list[UserError] | None = None,
    ) -> Iterator[Prediction]:
        """Predictions of files, folders and cameras, one after the other.

        A model of images sees videos frame by frame. A source that cannot be read, or that is of a
        shape that the pipeline cannot bring to the model's, does not keep the others from being
        predicted.

        Args:
            sources: Files, folders, numbers of cameras, or what `find` made of them.
            clip_length: Frames of a clip, at least 1; by default a recogniser looks at whole files,
                and at `CAMERA_CLIP` frames of a camera.
            faults: Takes the errors of sources that cannot be predicted; without it they are raised
                at the end, in one.

        Raises:
            UserError: A source is not there, or, after all others are predicted, sources cannot be
                read or are not what the model takes.
        """
        if clip_length is not None and clip_length < 1:
            raise UserError(f"the clip length is at least 1 frame, not {clip_length}")
        if isinstance(sources, str | Path | int):
            sources = [sources]
        entries: list[Any] = list(sources)
        known = all(isinstance(entry, ImageFile | Video) for entry in entries)
        chosen = entries if known else self.find(entries)
        found_faults = [] if faults is None else faults
        found_faults += getattr(sources if known else chosen, "faults", ())
        return self._stream(chosen, clip_length, found_faults, raises=faults is None)

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
        if refused and refused.__cause__ and not succeeded:
            raise refused.__cause__  # it is the model's, not the files'
        if raises and faults:
            raise UserError(listing(faults)) from faults[0]

    def find(self, paths: Sequence[str | Path | int], frames: bool = False) -> Sources:
        """Files and cameras that the model can look at; in folders others are left out.

        Args:
            paths: Files, folders and numbers of cameras.
            frames: Take every folder of images for the frames of a video; recognisers know those
                whose images are numbered.

        Returns:
            The sources, with the errors of those that cannot be read.

        Raises:
            UserError: There is no such file, or nothing in a folder.
        """
        return find_sources(paths, self.task.takes_clips, frames, self.max_pixels)

    @torch.inference_mode()
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what the model sees of a picture of 640 x 480 pixels, or a clip of such frames.

        Returns:
            That of a batch of one behind the codebase's data preprocessor: images (B, C, H, W),
            segments of videos (B, N, C, H, W), or views of clips (B, N, C, T, H, W).
        """
        shape = (480, 640, 3)
        black = np.zeros((CAMERA_CLIP, *shape) if self.task.takes_clips else shape, np.uint8)
        with DefaultScope.overwrite_default_scope(self.task.scope):
            (entry,) = self.task.pipeline_inputs(self._from_array(black), self.meta)
            batch = pseudo_collate([self._pipeline(entry)])
        return tuple(self.model.data_preprocessor(batch)["inputs"].shape)

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
        """The clips of a video, with as many frames per second as in the model's test data."""
        rate = self.task.frame_rate(self.cfg)
        if rate is not None:
            video.resample(rate)
        return video.clips(length)

    def _from_array(self, source: NDArray[np.uint8] | Sequence[Any]) -> Frame | Clip:
        try:
            array = np.asarray(source)
        except ValueError as error:  # lists that are no array
            raise UserError("frames of a clip have one size (H, W, 3)") from error
        axes = 4 if self.task.takes_clips else 3
        if array.ndim != axes or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
            expected = "(T, H, W, 3)" if self.task.takes_clips else "(H, W, 3)"
            raise UserError(
                f"expected an array {expected} of uint8, got {array.shape} of {array.dtype}"
            )
        return Clip("array", images=array) if self.task.takes_clips else Frame("array", array)

    def _predict(
        self, items: Sequence[Frame | Clip], faults: list[UserError] | None = None
    ) -> list[Prediction]:
        """Predictions of a few images or clips, without those whose errors `faults` takes."""
        if self.people is not None:
            items = self._with_boxes(items, faults)
        usable: list[Frame | Clip] = []
        inputs: list[Any] = []
        owners: list[int] = []
        with DefaultScope.overwrite_default_scope(self.task.scope):
            for item in items:
                try:
                    prepared = self._inputs_of(item)
                except UserError as error:
                    if faults is None:
                        raise
                    faults.append(_without_frames(error))
                    continue
                inputs += prepared
                owners += [len(usable)] * len(prepared)
                usable.append(item)
            outputs = self._forward(inputs, returns_errors=faults is not None)
        self.task.finish(self.model, [each for each in outputs if not isinstance(each, Exception)])
        predictions = []
        for owner, item in enumerate(usable):
            samples = [output for output, of in zip(outputs, owners, strict=True) if of == owner]
            refused = next((each for each in samples if isinstance(each, Exception)), None)
            if refused is not None and faults is not None:
                faults.append(ModelError(unusable(item.name, refused)))
                faults[-1].__cause__ = refused
                continue
            kind = self.task.prediction_type
            predictions.append(kind.from_samples(item, samples, self.meta, self.threshold))
        return predictions

    def _inputs_of(self, item: Frame | Clip) -> list[Any]:
        """What the model gets for an image or a clip.

        Raises:
            UserError: A step of the pipeline fails on it, or would need a multiple of its memory.
        """
        if isinstance(item, Frame):
            shorter, longer = sorted(item.image.shape[:2])
            if longer > MAX_RATIO * shorter:
                raise UserError(
                    f"{printable(item.name)} is not predicted: its sides are {longer} and {shorter}"
                    f" pixels, and one may be {MAX_RATIO} times the other. Crop it"
                )
        try:
            return [self._pipeline(entry) for entry in self.task.pipeline_inputs(item, self.meta)]
        except UserError:
            raise
        except Exception as error:
            if is_in_own_code(error):
                add_hint(error, f"it came up with {item.name}")
                raise
            raise UserError(unusable(item.name, error)) from error

    @torch.inference_mode()
    def _forward(self, inputs: Sequence[Any], returns_errors: bool) -> list[Any]:
        """The model's data samples, or maybe errors, in the order of its inputs."""
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
                    if not returns_errors:
                        raise
                    samples = [error] * len(chosen)
                for index, output in zip(chosen, samples, strict=True):
                    outputs[index] = output
        return outputs

    def _override(self, options: dict[str, Any]) -> None:
        try:
            self.cfg.merge_from_dict(options)
        except (KeyError, TypeError, AssertionError) as error:
            raise UserError(f"the options do not fit {self._name}: {error}") from error

    def _checkpoint_of(
        self, model: str | Path | Config, checkpoint: str | Path | None, random_weights: bool
    ) -> str | Path | None:
        """The checkpoint to load, None for random weights."""
        if random_weights and checkpoint is not None:
            raise UserError("random weights or a checkpoint: choose one of them")
        if random_weights:
            print_log("random weights: the predictions mean nothing", "current", WARNING)
            return None
        if checkpoint is None and (isinstance(model, Config) or Path(model).suffix == ".py"):
            raise UserError(
                f"{self._name} needs a checkpoint: give one, or, to try things out, ask for"
                " random weights"
            )
        return checkpoint or str(model)

    def _with_boxes(self, items: Sequence[Any], faults: list[UserError] | None) -> list[Frame]:
        """Images with the boxes of the people in them."""
        boxed: list[tuple[Any, Boxes]]
        if isinstance(self.people, Inferencer):
            detected = self.people._predict(items, faults)
            boxed = [(found.source, persons(found)) for found in detected]
        else:
            listed = self.people or {}
            boxed = [(item, listed.get((item.name, item.index), as_boxes([]))) for item in items]
        return [
            item if item.boxes is not None else replace(item, boxes=found) for item, found in boxed
        ]


def _without_frames(error: UserError) -> UserError:
    """An error that does not keep the images in memory on which it came up."""
    if error.__cause__:
        error.__cause__.__traceback__ = None
    return error.with_traceback(None)


def find_device(name: str) -> str:
    """The name of a device of torch; 'auto' is a GPU if there is one.

    Raises:
        UserError: There is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used: {reason}") from error
    return name


def read_classes(names: str | Path | Sequence[str]) -> list[str]:
    """Names of classes: themselves, out of a file with one per line, or a list of the authors'.

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
        known = ", ".join(sorted(path.stem for path in (CLASS_LISTS).glob("*.txt")))
        raise UserError(
            f"{names} is neither a file with a class name per line nor one of {known}"
        ) from error


def _config_of(model: str | Path | Config | nn.Module) -> Config:
    """A config that may be changed."""
    if isinstance(model, nn.Module):
        model = getattr(model, "cfg", None) or Config({})
    if isinstance(model, Config):
        return copy.deepcopy(model)
    if Path(model).suffix == ".py":
        return load_config(str(model))
    return load_config(str(MIM / find_model(str(model)).config))
