"""Action recognition on Kinetics, Something-Something, UCF101 and HMDB51, with mmaction2."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor

from uniformer_mm.datasets.media import Image
from uniformer_mm.datasets.overrides import (
    annotation_files,
    dataset_configs,
    evaluators,
    set_num_classes,
)
from uniformer_mm.datasets.synthetic.kinetics import CLASSES, SyntheticKinetics
from uniformer_mm.datasets.validation.video_labels import check_video_labels
from uniformer_mm.errors import UserError
from uniformer_mm.tasks.task import (
    Task,
    from_random_weights,
    scale_sizes,
    shrink_schedule,
    step_name,
    test_pipeline,
)
from uniformer_mm.visualization import ClassScores
from uniformer_mm.visualization.class_scores import probabilities, under_labels

VIDEO_SIZE = 128
"""Longer side of the drawn videos, in pixels."""

MODEL_SIZE = 32
"""Side of what a model sees of them, in pixels."""

CLIP_LENGTH = 8
"""Frames that a model sees of them."""

WINDOW = 32
"""Frames of a video that a clip is spread over."""

BATCH = 32
ITERATIONS = 200

UNSUITED = ("mmengine.ClipRandAugment", "Flip", "RandomErasing")
"""Augmentations that would turn one class into another, or that only pay in long runs."""

PLAIN_DATASETS = ("VideoDataset", "RepeatAugDataset", "RawframeDataset")
"""mmaction2's datasets that read a list with a line per video."""

SINGLE_LABEL_METRICS = ("top_k_accuracy", "mean_class_accuracy")
"""What AccMetric measures by default."""

KINETICS = "https://github.com/cvdfoundation/kinetics-dataset"

BENCHMARKS = {
    "kinetics400": (KINETICS, "videos_train/, videos_val/", "{}_list_videos.txt"),
    "kinetics600": (KINETICS, "videos_train/, videos_val/", "{}_list_videos.txt"),
    "sthv1": (
        "published as JPEG frames, of which videos have to be made",
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

Without any data, on drawn videos:    --synthetic"""


class Video(Task):
    """3-D recognizers on clips, and TSN on single frames."""

    scope = "mmaction"
    extra = "video"
    synthetic_datasets = (
        "mmengine.CheckedVideoDataset",
        "mmengine.CheckedRepeatAugDataset",
        "VideoDataset",
        "RepeatAugDataset",
    )
    default_count = 480
    scores = ("acc/top1", "acc/top2")
    published_scores: ClassVar = {"top-1": ("acc/top1", 100)}
    picture_switch = "enable"
    picture_folder = "out_dir"
    prediction_type = ClassScores
    takes_clips = True
    output_name = "logits"

    def data_help(self, root: str) -> str:
        """Source, folders and lists of the benchmark whose folder is `root`."""
        root = root.rstrip("/") or "data/kinetics400"
        name = Path(root).name if Path(root).name in BENCHMARKS else "kinetics400"
        source, folders, lists = BENCHMARKS[name]
        train, val = lists.format("train"), lists.format("val")
        return VIDEO_HELP.format(
            name=name, source=source, root=root, folders=folders, train=train, val=val
        )

    def make_synthetic_data(self, cfg: Config, count: int, folder: Path) -> Path:
        """Drawn videos whose classes only motion can tell apart."""
        synthetic = SyntheticKinetics(count, max(count // 4, 1), VIDEO_SIZE)
        root = synthetic.make(folder / "kinetics")
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
            # Two samples of a video would be much the same without the augmentations left out.
            cfg.train_dataloader.dataset.num_repeats = 1
        counts = (count, self.default_count)
        shrink_schedule(cfg, ITERATIONS, learning_rate=1e-3, counts=counts, batch_size=BATCH)
        cfg.default_hooks.checkpoint.save_best = None
        return root

    def check_data(self, cfg: Config, splits: Sequence[str]) -> None:
        """The lists, their labels, and what several labels per video need."""
        from uniformer_mm.datasets.video_dataset import check_plain_list

        for split, dataset, path in annotation_files(cfg, splits):
            if dataset["type"] in PLAIN_DATASETS:
                check_plain_list(path, dataset)
            if dataset.get("multi_class"):
                check_multi_label(cfg, split)
        check_video_labels(cfg, splits)

    def inference_pipeline(self, cfg: Config) -> list[Any]:
        """The steps of a config's test pipeline for a clip that has been opened."""
        import uniformer_mm.datasets.transforms.video_transforms  # noqa: F401  registers the step

        steps = [step for step in test_pipeline(cfg) if not step_name(step).endswith("Init")]
        return [
            {"type": "mmengine.VideoReaderDecode"} if step_name(step).endswith("Decode") else step
            for step in steps
        ]

    def frame_rate(self, cfg: Config) -> float | None:
        """That of the step that opens videos."""
        rates = [step.get("fps") for step in test_pipeline(cfg) if step_name(step).endswith("Init")]
        return rates[0] if rates else None

    def pipeline_inputs(self, source: Any, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The frames of a clip."""
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

    def draw_truth(self, frames: NDArray[np.uint8], sample: Any, visualizer: Any) -> Image:
        """Frames of the clip under its class, or its classes and their shares."""
        from uniformer_mm.engine.hooks.video_pictures import (
            CAPTION_HEIGHT,
            contact_sheet,
            labels_of,
        )

        sheet = contact_sheet(frames)[CAPTION_HEIGHT:]
        return under_labels(sheet, labels_of(sample), visualizer.dataset_meta)

    def finish(self, model: Any, samples: Sequence[Any]) -> None:
        """Make probabilities of what may be logits."""
        for sample in samples:
            sample.set_pred_score(
                probabilities(sample.pred_score, getattr(model, "cls_head", None))
            )

    def raw_outputs(self, model: Any, inputs: Tensor) -> Tensor:
        """Logits of the classes, (B, classes), of clips (B, C, T, H, W) or frames (B, N, C, H, W).

        TSN takes the mean over the N frames. Views of a clip are a batch.
        """
        views = inputs[:, None] if model.backbone.dims == 3 else inputs
        return model(views, mode="tensor", stage="head")

    def use_test_time_augmentation(self, cfg: Config) -> None:
        """There is none beside the views.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "--tta: videos are always tested on several views, the average of which is the score;"
            " change num_clips of the sampling and the crop in test_dataloader.dataset.pipeline"
        )


def check_multi_label(cfg: Config, split: str) -> None:
    """Look whether loss and metrics are for several labels per video.

    Raises:
        UserError: They are for one.
    """
    loss = cfg.model.cls_head.get("loss_cls", {"type": "CrossEntropyLoss"})["type"]
    if loss == "CrossEntropyLoss":
        raise UserError(
            "multi_class=True in a dataset: a video has several labels, of which cross-entropy"
            " expects one; set model.cls_head.loss_cls=dict(type='BCELossWithLogits')"
        )
    for where, metric in evaluators(cfg):
        kinds = metric.get("metric_list", SINGLE_LABEL_METRICS)
        kinds = [kinds] if isinstance(kinds, str) else kinds
        wrong = sorted(set(kinds) & set(SINGLE_LABEL_METRICS))
        if where == split and metric["type"] == "AccMetric" and wrong:
            raise UserError(
                f"multi_class=True in a dataset: {', '.join(wrong)} of {where}_evaluator is for"
                " videos of one label; set metric_list=('mean_average_precision',)"
            )


def _shrink_pipeline(dataset: Any) -> None:
    """Fewer and smaller frames, and no augmentation that the classes do not survive."""
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
    """Side of the frames that a recipe's model sees, in pixels."""
    crops = ("CenterCrop", "ThreeCrop", "TenCrop")
    sizes = [step["crop_size"] for step in pipeline if step["type"] in crops]
    sizes += [
        max(step["scale"])
        for step in pipeline
        if step["type"] == "Resize" and not step.get("keep_ratio", True)
    ]
    return max(sizes, default=224)


def _shrink_recognizer(model: Any) -> None:
    """Random weights, other classes, plain labels."""
    from_random_weights(model)
    set_num_classes(model, len(CLASSES))
    model.cls_head.update(label_smooth_eps=0.0, dropout_ratio=0.0)
    model.data_preprocessor.pop("blending", None)
