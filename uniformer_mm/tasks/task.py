"""The base class of the tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.media import Clip, Frame, Image
from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.datasets.synthetic.dataset import SyntheticDataset
from uniformer_mm.datasets.validation.num_classes import type_name
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.short_run import ShortRun, from_random_weights, shrink_schedule
from uniformer_mm.visualization import Prediction
from uniformer_mm.visualization.drawing import contact_sheet

CHANNEL_FLIPS = ("_channel_conversion", "channel_conversion", "to_rgb")
"""Names of the data preprocessors' switch that reverses the channels of their inputs.

mmaction2 calls it `to_rgb` although its decoders give RGB and it makes BGR of that.
"""

NUM_DRAWN = 12
"""Samples whose predictions a synthetic run draws."""


class Task:
    """A kind of prediction, and what differs between the OpenMMLab codebases for it.

    To add a task, derive from this class, and list it in `uniformer_mm.tasks.TASKS`.

    Attributes:
        scope: `default_scope` of the codebase's configs.
        extra: Extra of this package that installs the codebase.
        prediction_type: Type of the predictions.
        scores: Names of the validation scores worth showing.
        published_scores: By the name in metafiles: name of the test score, and its factor to the
            published unit.
        default_root: Folder of the benchmark data.
        help_text: Where to get the benchmark data, and the layout expected under `{root}`.
        synthetic_datasets: Types of the datasets that have a synthetic counterpart.
        synthetic_type: The synthetic counterpart.
        image_size: Longer side of its images, in pixels.
        short_run: Length of a run on it.
        short_runs: The same for some models, by the type of the model or of its head.
        takes_coco_data: Whether `--coco` can point configs at a dataset in COCO's format.
        takes_clips: Whether inputs are videos as a whole, not images.
        takes_boxes: Whether inputs have boxes of persons.
        output_name: Name of the result of `raw_outputs`; None if whole models cannot be exported.
    """

    scope: ClassVar[str]
    extra: ClassVar[str]
    prediction_type: ClassVar[type[Prediction]]
    scores: ClassVar[tuple[str, ...]]
    published_scores: ClassVar[dict[str, tuple[str, float]]]
    default_root: ClassVar[str]
    help_text: ClassVar[str]
    synthetic_datasets: ClassVar[tuple[str, ...]]
    synthetic_type: ClassVar[type[SyntheticDataset]]
    image_size: ClassVar[int] = 384
    short_run: ClassVar[ShortRun]
    short_runs: ClassVar[Mapping[str, ShortRun]] = {}
    takes_coco_data: ClassVar[bool] = False
    takes_clips: ClassVar[bool] = False
    takes_boxes: ClassVar[bool] = False
    output_name: ClassVar[str | None] = None

    def data_help(self, root: str) -> str:
        """Explain where to get the benchmark data, and the layout expected under `root`."""
        return self.help_text.format(root=root.rstrip("/") or self.default_root)

    def adapt_to_synthetic_data(self, cfg: Config, root: Path) -> None:
        """Point a config at the synthetic dataset, and shrink sizes and model to match.

        Args:
            cfg: Changed in place.
            root: Folder of the dataset.
        """
        raise NotImplementedError

    def use_synthetic_data(self, cfg: Config, count: int | None, folder: Path) -> Path:
        """Replace the data of a config by a small synthetic dataset in the same format on disk.

        Sizes, sampling and the schedule shrink to match, so that a model learns the dataset from
        random weights within minutes on two CPU cores.

        Args:
            cfg: Changed in place.
            count: Number of training samples, by default that of `short_run`; a quarter as many are
                made for validation.
            folder: Parent of the folders of all synthetic datasets.

        Returns:
            Folder of the dataset.

        Raises:
            UserError: The config's dataset has no counterpart, or `folder` has other contents.
        """
        kinds = sorted({dataset["type"] for _, dataset in dataset_configs(cfg)})
        if not set(kinds) <= set(self.synthetic_datasets):
            raise UserError(
                f"--synthetic has no counterpart for datasets {kinds} of {self.scope};"
                f" it has one for {', '.join(self.synthetic_datasets)}"
            )
        run = self.short_run_of(cfg.model)
        count = run.samples if count is None else count
        synthetic = self.synthetic_type(count, max(count // 4, 1), self.image_size)
        # One dataset per count: no run replaces what another one reads.
        root = synthetic.make(folder / str(count) / synthetic.generator.rpartition(".")[-1])
        self.adapt_to_synthetic_data(cfg, root)
        from_random_weights(cfg)
        shrink_schedule(cfg, run, count)
        return root

    def short_run_of(self, model: Mapping[str, Any]) -> ShortRun:
        """Return the length of a run of a model."""
        parts = [model, *(model.get(name) or {} for name in ("decode_head", "head", "roi_head"))]
        kinds = [type_name(part) for part in parts if "type" in part]
        return next((self.short_runs[k] for k in kinds if k in self.short_runs), self.short_run)

    def use_coco_data(
        self, cfg: Config, images: dict[str, str], annotations: dict[str, str]
    ) -> None:
        """Point a config at a dataset in COCO's format.

        Args:
            cfg: Changed in place.
            images: Folder of images for 'train' and 'val'; testing uses 'val'.
            annotations: Annotation file for 'train' and 'val'.

        Raises:
            UserError: A file or folder has a fault.
        """
        raise NotImplementedError

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Check the files of some splits for faults that the codebase would not explain.

        Raises:
            UserError: A file has one.
        """

    def draw_predictions(self, cfg: Config, folder: Path | None, show: bool = False) -> None:
        """Draw predictions next to the ground truth while testing.

        Args:
            cfg: Changed in place.
            folder: Where the drawn images go; None for nowhere.
            show: Open a window.

        Raises:
            UserError: The config has no visualization hook.
        """
        hook = cfg.get("default_hooks", {}).get("visualization")
        if hook is None:
            raise UserError("--show and --show-dir need default_hooks.visualization in the config")
        threshold = hook.get("threshold", hook.get("score_thr", hook.get("kpt_thr")))
        hook.clear()
        hook.update(
            type="mmengine.DrawPredictionsHook",
            enable=True,
            threshold=threshold,
            show=show,
            out_dir=folder and str(folder.resolve()),
        )

    def draw_samples(self, cfg: Config, folder: Path) -> None:
        """Draw the predictions of a few samples in the test run of a config.

        Args:
            cfg: A copy, so that no other run gets these settings; changed in place.
            folder: Where the drawn images go.
        """
        self.draw_predictions(cfg, folder)
        cfg.test_dataloader.dataset.indices = NUM_DRAWN

    def keep_ground_truth(self, cfg: Config) -> None:
        """Let the pipelines of a config pack the ground truth of what a model gets."""

    def draw_ground_truth(
        self, frames: NDArray[np.uint8], sample: Any, meta: Mapping[str, Any]
    ) -> Image:
        """Draw the ground truth of a sample on what a model gets; BGR.

        Args:
            frames: (T, H, W, 3), BGR; one T for images.
            sample: Its data sample.
            meta: Of the dataset.
        """
        clip = Clip("sample", images=frames)
        source = clip if self.takes_clips else Frame("sample", frames[0])
        ground_truth = self.prediction_type.from_ground_truth(source, [sample], meta)
        if ground_truth is None:
            return contact_sheet(frames)
        return ground_truth.draw() if self.takes_clips else ground_truth.enlarged().draw()

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """Test with the config's `tta_model` and `tta_pipeline`.

        Raises:
            UserError: The config does not have them, and the codebase has no default.
        """
        if "tta_model" not in cfg or "tta_pipeline" not in cfg:
            raise UserError("--tta needs tta_model and tta_pipeline in the config")
        cfg.model = dict(**cfg.tta_model, module=cfg.model)
        dataset = cfg.test_dataloader.dataset
        while "dataset" in dataset:
            dataset = dataset.dataset
        dataset.pipeline = cfg.tta_pipeline

    def use_slices(self, cfg: Config, size: int, overlap: float) -> None:
        """Predict in slices of large images.

        Args:
            cfg: Changed in place.
            size: Side of the slices in pixels.
            overlap: Fraction of a slice that the next one overlaps.

        Raises:
            UserError: The task has no such mode.
        """
        raise UserError(f"slices are for detection and segmentation, not for {self.scope}")

    def inference_pipeline(self, cfg: Config) -> list[Any]:
        """Return the steps of a config's test pipeline after loading."""
        return [step for step in test_pipeline(cfg) if not step_name(step).startswith("Load")]

    def channel_order(self, preprocessor: Any) -> str:
        """Return 'RGB' or 'BGR', the order of the channels after a data preprocessor.

        Pipelines read images as BGR and videos as RGB; the preprocessor may reverse that.
        """
        reverses = any(getattr(preprocessor, name, False) for name in CHANNEL_FLIPS)
        return "RGB" if self.takes_clips != reverses else "BGR"

    def frame_rate(self, cfg: Config) -> float | None:
        """Frame rate to which a config's test pipeline resamples videos; None for their own."""
        return None

    def raw_outputs(self, model: Any, inputs: Tensor) -> Tensor:
        """Return the outputs of a model's head for normalized inputs, before post-processing."""
        return model(inputs, None, mode="tensor")

    def finish(self, model: Any, samples: Sequence[Any]) -> None:
        """Convert the data samples that a model returns for `prediction_type`, in place."""

    def pipeline_inputs(self, source: Any, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the inputs of the pipeline for an image, each of which gives a data sample.

        Args:
            source: `uniformer_mm.datasets.media.Frame`, or Clip for tasks that take clips.
            meta: Of the model's dataset.
        """
        shape = source.image.shape[:2]
        return [
            {
                "img": source.image,
                "img_path": source.name,
                "img_id": 0,
                "img_shape": shape,
                "ori_shape": shape,
            }
        ]


LOADING = {"LoadImageFromFile": 0, "LoadAnnotations": 1, "LoadLabelMap": 1}
"""Rank of the steps that load, before all others."""


def load_annotations_first(cfg: Config) -> None:
    """Load annotations before images are resized; pipelines of tests do it afterwards."""
    for _, dataset in dataset_configs(cfg):
        steps = dataset.get("pipeline") or []
        dataset["pipeline"] = sorted(steps, key=lambda step: LOADING.get(step_name(step), 2))


def test_pipeline(cfg: Config) -> list[Any]:
    """Return the pipeline of a config's test dataset, which may be wrapped.

    Raises:
        UserError: There is none.
    """
    for split, dataset in dataset_configs(cfg):
        if split == "test" and dataset.get("pipeline"):
            return list(dataset["pipeline"])
    raise UserError(
        f"{cfg.filename} has no test_dataloader.dataset.pipeline, which inference needs to convert"
        " images to inputs of the model"
    )


def step_name(step: Mapping[str, Any]) -> str:
    """Return the name of a transform's class without its scope."""
    kind = step["type"]
    return kind.rpartition(".")[-1] if isinstance(kind, str) else kind.__name__
