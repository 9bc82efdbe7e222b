"""Class folders and label lists have to fit the model and the folders of training."""

import re
from contextlib import nullcontext

import pytest
from mmengine.config import Config

from uniformer_mm.datasets.validation.class_folders import check_class_folders, check_top_k
from uniformer_mm.errors import UserError

BOTH = ("train", "val")


def folder_set(root, names, classes=None, num_classes=3, kind="CustomDataset"):
    """A config with class folders for training and validation."""
    loaders = {}
    for split in BOTH:
        for name in names:
            (root / split / name).mkdir(parents=True)
        dataset = {"type": kind, "data_root": str(root), "data_prefix": split}
        dataset.update({"classes": classes} if isinstance(classes, str) else {})
        dataset.update({"metainfo": {"classes": classes}} if isinstance(classes, tuple) else {})
        loaders[f"{split}_dataloader"] = {"dataset": dataset}
    model = {"head": {"num_classes": num_classes}}
    return Config({"default_scope": "mmpretrain", "model": model, **loaders})


def check(cfg, splits=BOTH, message=None):
    """Check a config, which is refused if there is a message."""
    with nullcontext() if message is None else pytest.raises(UserError, match=message):
        check_class_folders(cfg, splits, lambda root: f"layout below {root}")


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (("cat", "dog"), ("cat", "dog"), None),
        (("cat", "dog"), None, None),
        (("cat", "dog", ".ipynb_checkpoints"), ("cat", "dog"), None),
        (("n02123045", "n02085620"), ("chihuahua", "tabby"), None),
        (("1", "2", "9"), ("one", "two", "nine"), None),
        (("cat", "dog"), ("dog", "cat"), r"in the same order: \('cat', 'dog'\)"),
        (("cat", "dog"), ("cat", "bird"), r"train has 'dog'; the dataset's config names 'bird'"),
        (("cat", "dog"), ("cat",), r"train has 'dog', which"),
        (("cat", "dog"), ("Cat", "Dog"), r"has 'cat', 'dog'; .* names 'Cat', 'Dog', which"),
        (("1", "2", "10"), ("one", "two", "ten"), r"1, 10, 2 .* leading zeros"),
    ],
)
@pytest.mark.parametrize("kind", ["CustomDataset", "ImageNet"])
def test_names_of_classes_are_those_of_the_folders(tmp_path, names, classes, message, kind):
    if classes is None and kind == "ImageNet":
        message = "2 class folders, but the dataset's config 1000 classes"
    check(folder_set(tmp_path, names, classes, kind=kind), message=message)
    if classes is not None:
        path = tmp_path / "classes.txt"
        path.write_text("\n".join(classes))
        check(folder_set(tmp_path / "named", names, str(path), kind=kind), message=message)


def test_folders_of_both_splits_are_those_of_the_model(tmp_path):
    cfg = folder_set(tmp_path, ("cat", "dog"), num_classes=2)
    check(cfg)
    (tmp_path / "val" / "cow").mkdir()
    check(cfg, BOTH, "val has 'cow', which is not in the other")
    check(cfg, ["val"], "val has 'cow', which is not in the other")
    check(cfg, ["train"])
    (tmp_path / "train" / "cow").mkdir()
    check(cfg, ["train"], r"train has 3 class folders, .* 3 classes and the model 2\.")
    (tmp_path / "train").rename(tmp_path / "moved")
    check(cfg, ["train"], rf"missing:\n    {tmp_path}/train\nlayout below {tmp_path}")


@pytest.mark.parametrize("split", BOTH)
@pytest.mark.parametrize("label", ["3", "-1", "heart", ""])
def test_labels_of_lists_are_classes_of_the_model(tmp_path, split, label):
    cfg = folder_set(tmp_path, ("cat",))
    path = tmp_path / "list.txt"
    path.write_text(f"cat/1.jpg 0\ncat/2.jpg {label}\n")
    cfg[f"{split}_dataloader"].dataset.ann_file = "list.txt"
    check(cfg, [split], rf"{re.escape(str(path))}, line 2: .*{label}', .* 0 to 2.*num_classes")


def test_top_k_accuracy_needs_k_classes(tmp_path):
    cfg = folder_set(tmp_path, ("cat", "dog"))
    cfg.val_evaluator = {"type": "Accuracy", "topk": (1, 5)}
    check_top_k(cfg, ["train"])
    with pytest.raises(UserError, match=r"top-5 accuracy of 3 classes: .* val_evaluator\.topk"):
        check_top_k(cfg, BOTH)
