"""Labels of lists that are no class of the model are named with file and line, in every type."""

import pytest
from mmengine.config import Config

import uniformer_mm.video  # noqa: F401  registers the reader
from uniformer_mm.datasets.validation.video_labels import check_video_labels
from uniformer_mm.errors import UserError

pytestmark = pytest.mark.stack

LISTS = {
    "VideoDataset": "{name}.mp4 {label}",
    "RepeatAugDataset": "{name}.mp4 {label}",
    "RawframeDataset": "{name} 30 {label}",
    "AudioDataset": "{name}.npy 30 {label}",
}


def config(folder, kind, labels, **options):
    lines = [LISTS[kind].format(name=i, label=label).strip() for i, label in enumerate(labels)]
    (folder / "list.txt").write_text("\n".join(lines))
    dataset = {"type": kind, "ann_file": "list.txt", "data_root": str(folder), **options}
    steps = ("mmengine.VideoReaderInit", "SampleFrames", "mmengine.VideoReaderDecode")
    dataset["pipeline"] = [{"type": step} for step in steps]
    dataset["pipeline"][1]["clip_len"] = 1
    prefix = {"RawframeDataset": "img", "AudioDataset": "audio"}.get(kind, "video")
    wrapped = {"type": "RepeatDataset", "times": 2}
    wrapped["dataset"] = {**dataset, "data_prefix": {prefix: ""}}
    loaders = {f"{split}_dataloader": {"dataset": wrapped} for split in ("train", "test")}
    evaluator = {"test_evaluator": {"type": "AccMetric"}}
    return Config({"model": {"cls_head": {"num_classes": 3}}, **loaders, **evaluator})


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", LISTS)
def test_a_label_beyond_the_classes_is_named(kind, split, tmp_path):
    check_video_labels(config(tmp_path, kind, [0, 1, 2]), [split])
    message = rf"{tmp_path}/list\.txt, line 2: label 3, but the 3 classes are 0 to 2\."
    with pytest.raises(UserError, match=message):
        check_video_labels(config(tmp_path, kind, [0, 3, 1]), [split])


@pytest.mark.parametrize("kind", ["VideoDataset", "RawframeDataset"])
def test_labels_may_be_absent_only_where_nothing_is_evaluated(kind, tmp_path):
    cfg = config(tmp_path, kind, [0, ""])
    with pytest.raises(UserError, match="line 2: no label"):
        check_video_labels(cfg, ["test"])
    cfg.test_evaluator = []
    check_video_labels(cfg, ["test"])


def test_several_labels_and_fewer_classes_of_the_dataset(tmp_path):
    options = {"multi_class": True, "num_classes": 3}
    check_video_labels(config(tmp_path, "VideoDataset", ["0 2", "1"], **options), ["train"])
    with pytest.raises(UserError, match="line 1: label 3"):
        check_video_labels(config(tmp_path, "VideoDataset", ["0 3", "1"], **options), ["train"])
    with pytest.raises(UserError, match="line 2: label 2, but the 2 classes"):
        check_video_labels(config(tmp_path, "VideoDataset", [0, 2], num_classes=2), ["train"])
