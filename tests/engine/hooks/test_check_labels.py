"""Labels that are no class of the model stop a run before they do harm."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from uniformer_mm.engine.hooks.check_labels import CheckLabelsHook
from uniformer_mm.errors import UserError


def runner_of(*ignored):
    """A runner whose model has five classes and heads with these ignored labels."""
    heads = [torch.nn.Identity() for _ in ignored]
    for head, label in zip(heads, ignored, strict=True):
        head.ignore_index = label
    model = torch.nn.Identity()
    model.num_classes = 5
    model.decode_head, model.auxiliary_head = heads[0], torch.nn.ModuleList(heads[1:])
    return SimpleNamespace(model=model)


RUNNER = runner_of(255)


def sample(*labels, reduce_zero_label=False):
    made = SegDataSample(gt_sem_seg=PixelData(data=torch.tensor([[labels]])))
    made.set_metainfo({"seg_map_path": "a/b.png", "reduce_zero_label": reduce_zero_label})
    return made


@pytest.mark.parametrize("labels", [(0, 4, 255), (255, 255)])
def test_classes_and_unlabelled_pixels_pass(labels):
    hook = CheckLabelsHook()
    hook.before_train_iter(RUNNER, 0, {"data_samples": [sample(*labels)]})
    hook.after_val_iter(RUNNER, 0, None, [sample(*labels)])
    hook.after_test_iter(RUNNER, 0, None, [sample(*labels)])


@pytest.mark.parametrize("ignored", [254, 9, 0])
def test_the_ignored_label_is_that_of_the_heads(ignored):
    runner = runner_of(ignored, ignored)
    CheckLabelsHook().before_train_iter(runner, 0, {"data_samples": [sample(ignored)]})
    with pytest.raises(UserError, match=rf"has the label 255, .* and {ignored} where"):
        CheckLabelsHook().before_train_iter(runner, 0, {"data_samples": [sample(255)]})


def test_what_only_one_of_the_heads_ignores_is_no_class():
    with pytest.raises(UserError, match="has the label 254"):
        CheckLabelsHook().before_train_iter(runner_of(254, 255), 0, {"data_samples": [sample(254)]})


def test_jpeg_is_named_as_the_cause():
    made = sample(7)
    made.set_metainfo({"seg_map_path": "a/b.jpg"})
    with pytest.raises(UserError, match=r"a/b\.jpg has the label 7.* JPEG"):
        CheckLabelsHook().before_train_iter(RUNNER, 0, {"data_samples": [made]})


def test_a_label_beyond_the_classes_names_file_value_classes_and_remedy():
    samples = [sample(0, 1), sample(4, 5, 255)]
    hook = CheckLabelsHook()
    message = (
        r"^a/b.png has the label 5, but the model has 5 classes, labels 0 to 4,"
        r".* Set num_classes of every head"
    )
    with pytest.raises(UserError, match=message):
        hook.before_train_iter(RUNNER, 0, {"data_samples": samples})
    with pytest.raises(UserError, match=message):
        hook.after_val_iter(RUNNER, 0, None, samples)
    with pytest.raises(UserError, match=message):
        hook.after_test_iter(RUNNER, 0, None, samples)


def test_the_value_in_the_file_is_said_where_it_is_another():
    samples = [sample(6, reduce_zero_label=True)]
    with pytest.raises(UserError, match=r"has the label 6 \(7 in the file\)"):
        CheckLabelsHook().before_train_iter(RUNNER, 0, {"data_samples": samples})


def test_samples_without_ground_truth_pass():
    CheckLabelsHook().after_test_iter(RUNNER, 0, None, [SegDataSample()])
