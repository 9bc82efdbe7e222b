"""Inferencers draw the classes that a checkpoint names.

Real models are tested in tests/checkpoints/test_inferencers.py.
"""

from types import SimpleNamespace

import pytest

from uniformer_mm.compat import mmaction_inferencer_classes, mmseg_inferencer_classes

pytestmark = pytest.mark.stack


class Visualizer:
    dataset_meta = None

    def set_dataset_meta(self, classes=None, palette=None, dataset_name=None):
        self.dataset_meta = (classes or "cityscapes", palette or "cityscapes", dataset_name)


class Inferencer:
    def __init__(self, meta):
        self.model = SimpleNamespace()
        self._load_weights_to_model(self.model, {"meta": {"dataset_meta": meta}}, None)
        self.visualizer = self._init_visualizer(None)

    def _load_weights_to_model(self, model, checkpoint, cfg):
        pass

    def _init_visualizer(self, cfg):
        return Visualizer()


def test_mmaction_keeps_what_a_checkpoint_says():
    class Recognizer(Inferencer):
        pass

    module = SimpleNamespace(ActionRecogInferencer=Recognizer)
    assert not hasattr(Recognizer({"classes": ("a",)}).model, "dataset_meta"), "the defect"
    mmaction_inferencer_classes.patch(module)
    inferencer = Recognizer({"classes": ("a",)})
    assert inferencer.model.dataset_meta == {"classes": ("a",)}
    assert inferencer.visualizer.dataset_meta == {"classes": ("a",)}
    assert Recognizer({}).visualizer.dataset_meta is None


def test_mmseg_draws_what_a_checkpoint_says_unless_it_is_told_otherwise():
    class Segmenter(Inferencer):
        def _load_weights_to_model(self, model, checkpoint, cfg):
            model.dataset_meta = checkpoint["meta"]["dataset_meta"]

    module = SimpleNamespace(MMSegInferencer=Segmenter)
    mmseg_inferencer_classes.patch(module)
    visualizer = Segmenter({"classes": ("a",), "palette": [(1, 2, 3)]}).visualizer
    for arguments, expected in (
        ((None, None, None), (("a",), [(1, 2, 3)], None)),
        ((["b"], None, None), (["b"], "cityscapes", None)),
        ((None, None, "ade20k"), ("cityscapes", "cityscapes", "ade20k")),
    ):
        visualizer.set_dataset_meta(*arguments)
        assert visualizer.dataset_meta == expected
    visualizer = Segmenter({"classes": None, "palette": None}).visualizer
    visualizer.set_dataset_meta(None, None, None)
    assert visualizer.dataset_meta[0] == "cityscapes"
