"""The base class of the tasks, and how configs are shrunken for generated data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.overrides import dataset_configs
from uniformer_mm.errors import UserError
from uniformer_mm.visualization import Prediction

CHANNEL_FLIPS = ("_channel_conversion", "channel_conversion", "to_rgb")
"""What data preprocessors call the switch that reverses the channels of what pipelines give them.

mmaction2 calls it `to_rgb` although its decoders give RGB, of which it makes BGR.
"""

NUM_PICTURES = 12
"""How many predictions a synthetic run paints."""

MIN_ITERATIONS = 10
"""Length of a synthetic run on very few samples."""


class Task:
    """One kind of prediction and the OpenMMLab codebase for it.

    To add a task, derive from this class, and list it in `uniformer_mm.tasks.TASKS`.
    """

    scope: ClassVar[str]
    """`default_scope` of the codebase's configs."""

    extra: ClassVar[str]
    """Extra of this package that installs the codebase."""

    synthetic_datasets: ClassVar[tuple[str, ...]]
    """Types of the datasets that have a generated counterpart."""

    default_count: ClassVar[int]
    """Training samples of a synthetic run."""

    scores: ClassVar[tuple[str, ...]]
    """Names of the validation scores worth showing."""

    published_scores: ClassVar[dict[str, tuple[str, float]]]
    """By the name in metafiles: name of the test score, and its factor to the published unit."""

    takes_coco_data: ClassVar[bool] = False
    """Whether `--coco` can point its configs at a set of the user's own."""

    picture_switch: ClassVar[str]
    """What the codebase's visualization hook calls its switch."""

    picture_folder: ClassVar[str | None]
    """What it calls its output folder; None if the visualizer has it."""

    prediction_type: ClassVar[type[Prediction]]
    """What comes out of its models."""

    takes_clips: ClassVar[bool] = False
    """Whether its models look at videos as a whole, not at images."""

    output_name: ClassVar[str | None] = None
    """What `raw_outputs` returns; None if whole models cannot be exported."""

    def data_help(self, root: str) -> str:
        """Where to get the benchmark data, and the layout expected under `root`."""
        raise NotImplementedError

    def make_synthetic_data(self, cfg: Config, count: int, folder: Path) -> Path:
        """Generate the set, point the config at it, and shrink sizes, model and schedule.

        Args:
            cfg: Changed in place.
            count: Number of training samples; a quarter as many are made for validation.
            folder: Parent of the folders of all generated sets.

        Returns:
            Folder of the set.
        """
        raise NotImplementedError

    def use_synthetic_data(self, cfg: Config, count: int | None, folder: Path) -> Path:
        """Swap the data of a config for a generated miniature in the same format on disk.

        Sizes, sampling and the schedule are shrunken to match, so that a model learns the set from
        random weights within minutes on two CPU cores.

        Args:
            cfg: Changed in place.
            count: Number of training samples, `default_count` if None; a quarter as many are made
                for validation.
            folder: Parent of the folders of all generated sets.

        Returns:
            Folder of the set.

        Raises:
            UserError: The config's dataset has no counterpart, or `folder` holds something else.
        """
        kinds = sorted({dataset["type"] for _, dataset in dataset_configs(cfg)})
        if not set(kinds) <= set(self.synthetic_datasets):
            raise UserError(
                f"--synthetic has no counterpart for datasets {kinds} of {self.scope};"
                f" it has one for {', '.join(self.synthetic_datasets)}"
            )
        count = self.default_count if count is None else count
        # Runs with other counts have sets of their own: none replaces what another one reads.
        return self.make_synthetic_data(cfg, count, folder / str(count))

    def use_coco_data(
        self, cfg: Config, images: dict[str, str], annotations: dict[str, str]
    ) -> None:
        """Point a config at a set of the user's own in COCO's format.

        Args:
            cfg: Changed in place.
            images: Folder of images for 'train' and 'val'; testing uses 'val'.
            annotations: Annotation file for 'train' and 'val'.

        Raises:
            UserError: The task has no such data, or a file or folder is not what it should be.
        """
        raise UserError(f"--coco is not for configs of {self.scope}")

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Look into those files of some splits whose faults the codebase would not explain.

        Raises:
            UserError: A file is not what it should be.
        """

    def draw_predictions(self, cfg: Config, folder: Path | None, show: bool = False) -> None:
        """Paint predictions beside the ground truth while testing.

        Args:
            cfg: Changed in place.
            folder: Where the pictures go; None for nowhere.
            show: Open a window.

        Raises:
            UserError: The config has no visualization hook.
        """
        hook = cfg.get("default_hooks", {}).get("visualization")
        if hook is None:
            raise UserError("--show and --show-dir need default_hooks.visualization in the config")
        hook[self.picture_switch] = True
        hook["show"] = show
        if folder is not None and self.picture_folder:
            hook[self.picture_folder] = str(folder.resolve())
        elif folder is not None:
            cfg.visualizer["save_dir"] = str(folder.resolve())

    def draw_samples(self, cfg: Config, folder: Path) -> None:
        """Turn the test run of a config into one that draws the predictions of a few samples.

        Args:
            cfg: A copy, so that no other run gets these settings; changed in place.
            folder: Where the pictures go.
        """
        self.draw_predictions(cfg, folder)
        cfg.test_dataloader.dataset.indices = NUM_PICTURES

    def keep_truth(self, cfg: Config) -> None:
        """Let the pipelines of a config pack whatever `draw_truth` needs."""

    def draw_truth(self, frames: NDArray[np.uint8], sample: Any, visualizer: Any) -> Image:
        """A picture of what a model gets for one sample, with the truth; RGB.

        Args:
            frames: (T, H, W, 3), RGB; one T for images.
            sample: Its data sample.
            visualizer: Of the config, with the classes of the dataset.
        """
        visualizer.add_datasample("", frames[0], sample, draw_pred=False)
        return visualizer.get_image()

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

    def inference_pipeline(self, cfg: Config) -> list[Any]:
        """The steps of a config's test pipeline for an image that is in memory, without truth."""
        return [step for step in test_pipeline(cfg) if not step_name(step).startswith("Load")]

    def channel_order(self, preprocessor: Any) -> str:
        """'RGB' or 'BGR': the order in which a model gets channels from its data preprocessor.

        Pipelines read images as BGR and videos as RGB; the preprocessor may reverse that.
        """
        reverses = any(getattr(preprocessor, name, False) for name in CHANNEL_FLIPS)
        return "RGB" if self.takes_clips != reverses else "BGR"

    def frame_rate(self, cfg: Config) -> float | None:
        """Frames per second to which a config's test pipeline resamples videos; None for theirs."""
        return None

    def raw_outputs(self, model: Any, inputs: Tensor) -> Tensor:
        """What the head of a model says of normalised inputs, before any post-processing."""
        return model(inputs, None, mode="tensor")

    def finish(self, model: Any, samples: Sequence[Any]) -> None:
        """Bring what a model returns into the form that `prediction_type` takes, in place."""

    def pipeline_inputs(self, source: Any, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What goes through the pipeline for an image: one dict, and as many data samples return.

        Args:
            source: `uniformer_mm.datasets.media.Frame`, or Clip where those are taken.
            meta: Of the model's dataset.

        Raises:
            UserError: The model has no use for it.
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


def test_pipeline(cfg: Config) -> list[Any]:
    """The pipeline of a config's test data, inside whatever wrapper.

    Raises:
        UserError: There is none.
    """
    for split, dataset in dataset_configs(cfg):
        if split == "test" and dataset.get("pipeline"):
            return list(dataset["pipeline"])
    raise UserError(
        f"{cfg.filename} has no test_dataloader.dataset.pipeline, which says how the model's inputs"
        " are made of images"
    )


def step_name(step: Mapping[str, Any]) -> str:
    """Name of a transform's class without its scope."""
    kind = step["type"]
    return kind.rpartition(".")[-1] if isinstance(kind, str) else kind.__name__


def shrink_schedule(
    cfg: Config,
    iterations: int,
    learning_rate: float,
    *,
    counts: tuple[int, int],
    batch_size: int | None = None,
    warmup: int = 30,
    max_norm: float = 5.0,
) -> None:
    """A short run with AdamW: a linear warm-up, then a cosine, evaluated at its end.

    The optimizer's decay settings stay as they are in the config. Fewer samples take fewer
    iterations, more take more: each is seen as often.

    Args:
        cfg: Changed in place.
        iterations: With as many samples as the task has by default.
        learning_rate: After the warm-up.
        counts: Training samples, and how many the task has by default.
        batch_size: Samples per iteration, if there are as many; that of the config if None.
        warmup: Iterations of the warm-up, a third of all at most.
        max_norm: Of the gradients.
    """
    count, usual_count = counts
    usual_batch = batch_size or cfg.train_dataloader.batch_size
    batch = min(usual_batch, max(count, 2))  # BatchNorm of pooled features needs two samples
    cfg.train_dataloader.update(batch_size=batch, drop_last=False)
    iterations = round(iterations * usual_batch / batch * count / usual_count)
    iterations = max(iterations, MIN_ITERATIONS)
    warmup = min(warmup, iterations // 3)
    cfg.train_cfg = {
        "type": "IterBasedTrainLoop",
        "max_iters": iterations,
        "val_interval": iterations,
    }
    # Few iterations: a shorter memory of squared gradients, and clipping, make more of each.
    cfg.optim_wrapper.optimizer.update(lr=learning_rate, betas=(0.9, 0.98), fused=True)
    cfg.optim_wrapper.clip_grad = {"max_norm": max_norm}
    cfg.param_scheduler = [
        {"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": warmup},
        {
            "type": "CosineAnnealingLR",
            "by_epoch": False,
            "begin": warmup,
            "end": iterations,
            "T_max": iterations - warmup,
            "eta_min_ratio": 0.01,
        },
    ]
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=iterations)
    cfg.default_hooks.logger.interval = min(10, iterations)
    cfg.setdefault("log_processor", {}).update(by_epoch=False, window_size=10)
    cfg.train_dataloader.sampler = {"type": "InfiniteSampler", "shuffle": True}
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].update(num_workers=0, persistent_workers=False)
    cfg.randomness = {"seed": 0}


def from_random_weights(model: Any) -> None:
    """No download, and nothing that only pays in long runs, of what the backbone's config says."""
    off = {"init_cfg": None, "pretrained": None, "drop_path_rate": 0.0, "with_cp": False}
    model.backbone.update({name: off[name] for name in off if name in model.backbone})


def scale_sizes(pipeline: Any, factor: float) -> None:
    """Scale every image size in a pipeline, to whole pixels."""
    if isinstance(pipeline, dict):
        for key, value in pipeline.items():
            if key in ("scale", "scales", "crop_size", "size"):
                pipeline[key] = _scaled(value, factor)
            else:
                scale_sizes(value, factor)
    elif isinstance(pipeline, list | tuple):
        for value in pipeline:
            scale_sizes(value, factor)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_scaled(entry, factor) for entry in value)
    if value == -1:  # mmaction: whatever keeps the aspect ratio
        return value
    return max(round(value * factor), 1)
