"""Action recognition on Kinetics, Something-Something, UCF101 and HMDB51, with mmaction2."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config
from torch import Tensor

from uniformer_mm.datasets.overrides import (
    annotation_files,
    dataset_configs,
    evaluators,
    set_num_classes,
)
from uniformer_mm.datasets.synthetic.dataset import SyntheticDataset
from uniformer_mm.datasets.synthetic.kinetics import CLASSES, SyntheticKinetics
from uniformer_mm.datasets.validation.video_labels import check_video_labels
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.short_run import ShortRun, scale_sizes
from uniformer_mm.tasks.task import Task, step_name, test_pipeline
from uniformer_mm.visualization import ClassScores, Prediction
from uniformer_mm.visualization.class_scores import set_probabilities

MODEL_SIZE = 32
"""Side of the model's synthetic inputs, in pixels."""

CLIP_LENGTH = 8
"""Frames of the model's synthetic inputs."""

WINDOW = 32
"""Frames of a video that a clip is spread over."""

UNSUITED = ("mmengine.ClipRandAugment", "Flip", "RandomErasing")
"""Augmentations that turn one class into another, or that only long runs need."""

PLAIN_DATASETS = ("VideoDataset", "RepeatAugDataset", "RawframeDataset")
"""mmaction2's datasets that read a list with a line per video."""

SINGLE_LABEL_METRICS = ("top_k_accuracy", "mean_class_accuracy")
"""Default metrics of AccMetric."""

KINETICS = "https://github.com/cvdfoundation/kinetics-dataset"

BENCHMARKS = {
    "kinetics400": (KINETICS, "videos_train/, videos_val/", "{}_list_videos.txt"),
    "kinetics600": (KINETICS, "videos_train/, videos_val/", "{}_list_videos.txt"),
    "sthv1": (
        "published as JPEG frames, which have to be converted to videos",
        "videos/",
        "{}_list_videos.txt",
    ),
    "sthv2": (
        "https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
        "videos/",
        "{}_list_videos.txt",
    ),
    "ucf101": ("https://www.crcv.ucf.edu/data/UCF101.php", "videos/", "{}_split_1_videos.txt"),
    "hmdb51": (
        "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database",
        "videos/",
        "{}_split_1_videos.txt",
    ),
}
"""Source, folders and list files by the name of the folder in data/."""

VIDEO_HELP = """\
{name}: {source}
mmaction2 has scripts that prepare it (tools/data), and for some `mim download mmaction2 --dataset`.
Expected layout:

{root}/
    {name}_{train}, {name}_{val}
    {folders}

A line of a list is a video's name in its folder, a space and the number of its class. The authors'
checkpoints number the classes as the lists in https://github.com/Sense-X/UniFormer do
(video_classification/data_list), which is not mmaction2's order.

Without any data:    --synthetic"""


class Video(Task):
    """3-D recognizers on clips, and TSN on single frames."""

    scope = "mmaction"
    extra = "video"
    synthetic_datasets: ClassVar[tuple[str, ...]] = (
        "mmengine.CheckedVideoDataset",
        "mmengine.CheckedRepeatAugDataset",
        "VideoDataset",
        "RepeatAugDataset",
    )
    synthetic_type: ClassVar[type[SyntheticDataset]] = SyntheticKinetics
    image_size = 128
    short_run = ShortRun(samples=480, iterations=200, learning_rate=1e-3, batch_size=32)
    scores: ClassVar[tuple[str, ...]] = ("acc/top1", "acc/top2")
    published_scores: ClassVar = {"top-1": ("acc/top1", 100)}
    prediction_type: ClassVar[type[Prediction]] = ClassScores
    takes_clips = True
    output_name: ClassVar[str | None] = "logits"

    def data_help(self, root: str) -> str:
        """Explain source, folders and lists of the benchmark whose folder is `root`."""
        root = root.rstrip("/") or "data/kinetics400"
        name = Path(root).name if Path(root).name in BENCHMARKS else "kinetics400"
        source, folders, lists = BENCHMARKS[name]
        train, val = lists.format("train"), lists.format("val")
        return VIDEO_HELP.format(
            name=name, source=source, root=root, folders=folders, train=train, val=val
        )

    def adapt_to_synthetic_data(self, cfg: Config, root: Path) -> None:
        """Use its videos, whose classes differ in motion only."""
        for split, dataset in dataset_configs(cfg):
            source = "train" if split == "train" else "val"
            dataset.pop("delimiter", None)
            dataset.update(
                data_root="",
                ann_file=f"{root}/kinetics_{source}_videos.txt",
                data_prefix={"video": f"{root}/videos_{source}"},
                metainfo={"classes": CLASSES},
            )
            set_num_classes(dataset, len(CLASSES))
            _shrink_pipeline(dataset)
        for _, metric in evaluators(cfg):
            metric["metric_options"] = {"top_k_accuracy": {"topk": (1, 2)}}
        _shrink_recognizer(cfg.model)
        if "num_repeats" in cfg.train_dataloader.dataset:
            # Samples of one video are much the same without the augmentations left out.
            cfg.train_dataloader.dataset.num_repeats = 1

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """Check the lists, their labels, and loss and metrics for several labels per video."""
        from uniformer_mm.datasets.video_dataset import check_plain_list

        for split, dataset, path in annotation_files(cfg, splits):
            if dataset["type"] in PLAIN_DATASETS:
                check_plain_list(path, dataset)
            if dataset.get("multi_class"):
                check_multi_label(cfg, split)
        check_video_labels(cfg, splits)

    def inference_pipeline(self, cfg: Config) -> list[Any]:
        """Return the steps of a config's test pipeline after opening the video."""
        import uniformer_mm.datasets.transforms.video_transforms  # noqa: F401  registers the step

        steps = [step for step in test_pipeline(cfg) if not step_name(step).endswith("Init")]
        return [
            {"type": "mmengine.VideoReaderDecode"} if step_name(step).endswith("Decode") else step
            for step in steps
        ]

    def frame_rate(self, cfg: Config) -> float | None:
        """Frame rate of the step that opens videos."""
        rates = [step.get("fps") for step in test_pipeline(cfg) if step_name(step).endswith("Init")]
        return rates[0] if rates else None

    def pipeline_inputs(self, source: Any, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the frames of a clip."""
        in_memory = source.images is not None
        frames = source.images[..., ::-1] if in_memory else source.video.open()
        return [
            {
                "video_reader": frames,
                "total_frames": len(frames),
                "start_index": 0,
                "modality": "RGB",
                "filename": source.name,
            }
        ]

    def finish(self, model: Any, samples: Sequence[Any]) -> None:
        """Convert scores, which may be logits, to probabilities."""
        set_probabilities(model, samples)

    def raw_outputs(self, model: Any, inputs: Tensor) -> Tensor:
        """Return logits (B, classes) of clips (B, C, T, H, W) or frames (B, N, C, H, W).

        TSN takes the mean over the N frames. Views of a clip are a batch.
        """
        views = inputs[:, None] if model.backbone.dims == 3 else inputs
        return model(views, mode="tensor", stage="head")

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """Refuse: there is none but the views.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "--tta: videos are always tested on several views, the average of which is the score;"
            " change num_clips of the sampling and the crop in test_dataloader.dataset.pipeline"
        )


def check_multi_label(cfg: Config, split: str) -> None:
    """Check that loss and metrics support several labels per video.

    Raises:
        UserError: They do not.
    """
    loss = cfg.model.cls_head.get("loss_cls", {"type": "CrossEntropyLoss"})["type"]
    if loss == "CrossEntropyLoss":
        raise UserError(
            "multi_class=True in a dataset: videos have several labels, cross-entropy"
            " expects one; set model.cls_head.loss_cls=dict(type='BCELossWithLogits')"
        )
    for where, metric in evaluators(cfg):
        kinds = metric.get("metric_list", SINGLE_LABEL_METRICS)
        kinds = [kinds] if isinstance(kinds, str) else kinds
        wrong = sorted(set(kinds) & set(SINGLE_LABEL_METRICS))
        if where == split and metric["type"] == "AccMetric" and wrong:
            raise UserError(
                f"multi_class=True in a dataset: {', '.join(wrong)} of {where}_evaluator needs"
                " one label per video; set metric_list=('mean_average_precision',)"
            )


def _shrink_pipeline(dataset: Any) -> None:
    """Reduce number and size of frames, and leave out augmentations that change the class."""
    dataset.pipeline = [step for step in dataset.pipeline if step["type"] not in UNSUITED]
    scale_sizes(dataset.pipeline, MODEL_SIZE / _clip_size(dataset.pipeline))
    for step in dataset.pipeline:
        if step.get("clip_len", 1) > 1:
            step["clip_len"] = CLIP_LENGTH
        if step.get("frame_interval", 1) > 1:
            step["frame_interval"] = WINDOW // CLIP_LENGTH
        if step["type"] == "RandomResizedCrop":
            step["area_range"] = (0.5, 1.0)


def _clip_size(pipeline: Any) -> int:
    """Return the side of the model's inputs in a pipeline, in pixels."""
    crops = ("CenterCrop", "ThreeCrop", "TenCrop")
    sizes = [step["crop_size"] for step in pipeline if step["type"] in crops]
    sizes += [
        max(step["scale"])
        for step in pipeline
        if step["type"] == "Resize" and not step.get("keep_ratio", True)
    ]
    return max(sizes, default=224)


def _shrink_recognizer(model: Any) -> None:
    """Use other classes, and labels without smoothing or blending."""
    set_num_classes(model, len(CLASSES))
    model.cls_head.update(label_smooth_eps=0.0, dropout_ratio=0.0)
    model.data_preprocessor.pop("blending", None)
