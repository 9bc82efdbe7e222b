"""Random data in the form in which the codebases' data loaders pass it to models.

Each function of `BATCHES` takes a config and an image size, and returns two functions: they make a
batch for training and one for prediction.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import InstanceData, PixelData

Make = Callable[[], Any]
Batches = tuple[Make, Make]

CLASSES = 19
"""No more than any config has."""

CAPTION_WORDS = ("cat", "dog", "car")


def boxes(cfg: Config, size: int, **kinds: Any) -> Batches:
    """Two images with boxes."""
    from mmdet.testing import demo_mm_inputs

    options = {"num_items": [2, 3], "num_classes": CLASSES, **kinds}
    make = partial(demo_mm_inputs, 2, [(3, size, size)] * 2, **options)
    return make, lambda: {key: values[:1] for key, values in make().items()}


def masks(cfg: Config, size: int) -> Batches:
    """Two images with boxes and masks."""
    return boxes(cfg, size, with_mask=True)


def semantic(cfg: Config, size: int) -> Batches:
    """Two images with boxes, masks, and a semantic map of an eighth of the size."""
    return boxes(cfg, size, with_mask=True, with_semantic=True, sem_seg_output_strides=8)


def panoptic(cfg: Config, size: int) -> Batches:
    """Two images with boxes, masks, and a semantic map."""
    return boxes(cfg, size, with_mask=True, with_semantic=True)


def captions(cfg: Config, size: int) -> Batches:
    """Two images with boxes, and the names of their classes in a text."""
    texts = [" . ".join(CAPTION_WORDS)] * 2
    classes = len(CAPTION_WORDS)
    return boxes(cfg, size, num_classes=classes, texts=texts, custom_entities=True)


def changed(batches: Batches, change: Callable[[Any], None]) -> Batches:
    """Batches whose samples are changed in place."""

    def make_changed(make: Make) -> Any:
        data = make()
        for sample in data["data_samples"]:
            change(sample)
        return data

    return partial(make_changed, batches[0]), partial(make_changed, batches[1])


def corners(cfg: Config, size: int) -> Batches:
    """Two images with boxes, and the size to which they were padded."""
    shape = {"batch_input_shape": (size, size)}
    return changed(boxes(cfg, size), lambda sample: sample.set_metainfo(shape))


def one_class(cfg: Config, size: int) -> Batches:
    """Two images with boxes of one class."""
    return changed(boxes(cfg, size), lambda sample: sample.gt_instances.labels.zero_())


def proposals(cfg: Config, size: int) -> Batches:
    """Two images with boxes and proposals."""
    from mmdet.testing import demo_mm_proposals

    def propose(sample: Any) -> None:
        sample.proposals = demo_mm_proposals([(3, size, size)], 20)[0]

    return changed(boxes(cfg, size), propose)


def semi_supervised(cfg: Config, size: int) -> Batches:
    """Images with boxes, and two views of images without."""
    homography = {"homography_matrix": np.eye(3, dtype=np.float32)}
    train, test = changed(boxes(cfg, size), lambda sample: sample.set_metainfo(homography))

    def branches() -> Any:
        parts = {name: train() for name in ("sup", "unsup_teacher", "unsup_student")}
        keys = ("inputs", "data_samples")
        return {key: {name: part[key] for name, part in parts.items()} for key in keys}

    return branches, test


def tracks(cfg: Config, size: int, **kinds: Any) -> Batches:
    """A pair of frames with tracked boxes; a video of two frames."""
    from mmdet.testing import demo_track_inputs

    options = {"image_shapes": [(3, size, size)], "num_items": [3, 3], **kinds}
    make = partial(demo_track_inputs, 1, 2, **options)
    return partial(make, key_frames_inds=[0]), make


def tracks_of_detector(cfg: Config, size: int) -> Batches:
    """Images with boxes of one class; a video of two frames."""
    return one_class(cfg, size)[0], tracks(cfg, size)[1]


def video_masks(cfg: Config, size: int) -> Batches:
    """A pair of frames with tracked boxes and masks; a video of two frames."""
    return tracks(cfg, size, with_mask=True, num_classes=3)


def identities(cfg: Config, size: int) -> Batches:
    """Two crops of each of two persons."""
    from mmdet.structures import ReIDDataSample

    def make() -> Any:
        samples = [ReIDDataSample().set_gt_label(i // 2) for i in range(4)]
        inputs = list(torch.randint(0, 256, (4, 3, 2 * size, size)).byte())
        return {"inputs": inputs, "data_samples": samples}

    return make, make


def semantic_map(cfg: Config, size: int) -> Batches:
    """Two images with a class for each pixel."""
    from mmseg.structures import SegDataSample

    def make(number: int) -> Any:
        shape = (size, size)
        inputs = [torch.randint(0, 256, (3, *shape)).byte() for _ in range(number)]
        samples = [
            SegDataSample(
                metainfo={"img_shape": shape, "ori_shape": shape},
                gt_sem_seg=PixelData(data=torch.randint(0, CLASSES, (1, *shape))),
            )
            for _ in inputs
        ]
        return {"inputs": inputs, "data_samples": samples}

    return partial(make, 2), partial(make, 1)


def keypoints(cfg: Config, size: int, persons: int = 1) -> Batches:
    """Two images of persons, whose targets are made by the pipeline of the config."""
    codec = cfg.codec[-1] if isinstance(cfg.codec, list) else cfg.codec
    train, test = (cfg[f"{split}_dataloader"].dataset.pipeline for split in ("train", "val"))
    targets = ("GenerateTarget", "BottomupGetHeatmapMask", "PackPoseInputs")

    def make(steps: list[dict[str, Any]], number: int) -> Any:
        prepare = Compose([step for step in steps if type_name(step) in targets])
        image = partial(annotated_image, cfg.model.head, codec, persons)
        return pseudo_collate([prepare(image(number)) for number in range(number)])

    return partial(make, train, 2), partial(make, test, 1)


def persons(cfg: Config, size: int) -> Batches:
    """Two images of two persons each."""
    return keypoints(cfg, size, persons=2)


def type_name(settings: dict[str, Any]) -> str:
    """Name of a type, which configs of the new style import."""
    return getattr(settings["type"], "__name__", settings["type"])


def annotated_image(head: Any, codec: Any, persons: int, number: int) -> dict[str, Any]:
    """An image as pipelines of mmpose pass it to `GenerateTarget`."""
    hands = type_name(codec) == "Hand3DHeatmap"
    points = head.get("num_keypoints") or head.get("num_joints") or head.get("out_channels") or 42
    width, height = codec.get("input_size", (256, 256))
    rng = np.random.default_rng(number)
    xy = rng.uniform(0.2, 0.8, (persons, points, 2)).astype(np.float32) * np.float32(
        [width, height]
    )
    box = np.concatenate([xy.min(1), xy.max(1)], 1)
    visible = np.ones((persons, points), np.float32)
    one = np.ones(1, np.float32)
    if hands:
        xy = np.pad(xy, ((0, 0), (0, 0), (0, 1)))  # with a depth
    if type_name(codec) == "DecoupledHeatmap":
        bbox = box[:, [0, 1, 0, 3, 2, 1, 2, 3]].reshape(-1, 4, 2)
    else:
        bbox = box
    return {
        "img": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "id": number,
        "img_id": number,
        "img_path": "",
        "ori_shape": (height, width),
        "img_shape": (height, width),
        "input_size": (width, height),
        "input_center": np.float32([width / 2, height / 2]),
        "input_scale": np.float32([width, height]),
        "warp_mat": np.eye(2, 3),
        "flip_indices": list(range(points)),
        "keypoints": xy,
        "transformed_keypoints": xy,
        "keypoints_visible": visible,
        "dataset_keypoint_weights": visible[0],
        "bbox": bbox,
        "bbox_score": np.ones(persons, np.float32),
        "bbox_center": (box[:, :2] + box[:, 2:]) / 2,
        "bbox_scale": box[:, 2:] - box[:, :2],
        "area": (box[:, 2:] - box[:, :2]).prod(1),
        "category_id": [1] * persons,
        # Of hands:
        "rel_root_depth": one,
        "rel_root_valid": one,
        "hand_type": np.ones((1, 2), np.float32),
        "hand_type_valid": one,
        "focal": one,
        "principal_pt": one,
        "abs_depth": [1, 1],
        "rotation": 0.0,
    }


def recognition(*shape: int, dtype: torch.dtype = torch.uint8) -> Batches:
    """Two inputs of a shape, with labels."""
    from mmaction.structures import ActionDataSample

    def make(number: int) -> Any:
        inputs = [torch.randint(0, 256, shape).to(dtype) for _ in range(number)]
        samples = [ActionDataSample().set_gt_label(label) for label in range(number)]
        return {"inputs": inputs, "data_samples": samples}

    return partial(make, 2), partial(make, 1)


def clips(cfg: Config, size: int) -> Batches:
    """Two clips of eight frames."""
    return recognition(1, 3, 8, size, size)


def frames(cfg: Config, size: int) -> Batches:
    """Frames of two videos, as many as the config has segments."""
    return recognition(cfg.model.cls_head.get("num_segments", 8), 3, size, size)


def spectrograms(cfg: Config, size: int) -> Batches:
    """Two spectrograms."""
    return recognition(1, 1, size, 80, dtype=torch.float)


def heatmap_clips(cfg: Config, size: int) -> Batches:
    """Two clips of heatmaps of keypoints."""
    return recognition(1, 17, 16, size, size, dtype=torch.float)


def actions(cfg: Config, size: int) -> Batches:
    """Two clips of eight frames with boxes and actions of persons."""
    from mmaction.structures import ActionDataSample

    classes = cfg.model.roi_head.bbox_head.num_classes
    persons = torch.tensor([[4.0, 4, 40, 40], [20, 10, 60, 60]])

    def make(number: int) -> Any:
        inputs = [torch.randint(0, 256, (3, 8, size, size)).byte() for _ in range(number)]
        samples = []
        for _ in inputs:
            sample = ActionDataSample(metainfo={"img_shape": (size, size)})
            labels = torch.randint(0, 2, (2, classes)).float()
            sample.gt_instances = InstanceData(bboxes=persons, labels=labels)
            sample.proposals = InstanceData(bboxes=persons, scores=torch.ones(2))
            samples.append(sample)
        return {"inputs": inputs, "data_samples": samples}

    return partial(make, 2), partial(make, 1)


BATCHES: dict[str, Callable[[Config, int], Batches]] = {
    function.__name__: function
    for function in (
        *(boxes, masks, semantic, panoptic, captions, corners, one_class, proposals),
        *(semi_supervised, tracks, tracks_of_detector, video_masks, identities),
        *(semantic_map, keypoints, persons),
        *(clips, frames, spectrograms, heatmap_clips, actions),
    )
}
"""By name."""
