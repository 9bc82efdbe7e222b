"""A string where names of classes belong is refused in the datasets of every task."""

import pytest
from mmengine.config import Config

from uniformer_mm.datasets.validation.class_names import check_class_names
from uniformer_mm.errors import UserError


def config(dataset):
    return Config({"train_dataloader": {"dataset": dataset}})


@pytest.mark.parametrize(
    "dataset",
    [
        {"type": "CocoDataset", "metainfo": {"classes": "ship"}},
        {"type": "BaseSegDataset", "metainfo": {"classes": "ship"}},
        {"type": "VideoDataset", "metainfo": {"classes": "ship"}},
        {"type": "CustomDataset", "classes": "ship"},
        {"type": "RepeatDataset", "dataset": {"metainfo": {"classes": "ship"}}},
    ],
)
def test_a_name_without_a_comma_is_refused(dataset):
    with pytest.raises(UserError, match=r"for train is the string 'ship'.*classes=\('ship',\)"):
        check_class_names(config(dataset), ("train", "val"))
    check_class_names(config(dataset), ("test",))


@pytest.mark.parametrize("classes", [("ship",), ["ship"], None, "s3://names.txt"])
def test_names_and_files_pass(classes, tmp_path):
    check_class_names(config({"metainfo": {"classes": classes}}), ("train",))
    (tmp_path / "names.txt").write_text("ship\n")
    names = str(tmp_path / "names.txt")
    check_class_names(config({"metainfo": {"classes": names}, "classes": names}), ("train",))
