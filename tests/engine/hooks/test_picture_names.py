"""Pictures of different files have different names, the same in all processes."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from uniformer_mm.engine.hooks.picture_names import PictureNames, distinct_names


class Images(list):
    """A dataset that knows paths only."""

    def get_data_info(self, index):
        return {"img_path": self[index]}


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["data/val/1.jpg", "data/val/2.jpg"], ["1", "2"]),
        (["data/a/1.jpg", "data/b/1.jpg", "data/b/2.jpg"], ["a/1", "b/1", "b/2"]),
        (["val/1.jpg", "val/1.png", "val/2.png"], ["1.jpg", "1.png", "2"]),
        (["/x/a_b/1.jpg", "/x/a/b_1.jpg"], ["a_b/1", "a/b_1"]),
        (["one.jpg"], ["one"]),
        ([], []),
    ],
)
def test_names_have_the_folders_below_the_common_one(paths, names):
    assert [distinct_names(paths)[path] for path in paths] == names


def test_a_file_that_is_not_of_the_dataset_has_its_own_name():
    assert PictureNames()("somewhere/street.jpg") == "street"


def test_detections_in_equally_named_images_are_drawn_into_files_of_their_own(tmp_path):
    pytest.importorskip("mmdet")
    from uniformer_mm.engine.hooks.detection_pictures import DetectionPicturesHook

    written = []
    hook = DetectionPicturesHook.__new__(DetectionPicturesHook)
    hook.draw, hook.show, hook.wait_time, hook.score_thr = True, False, 0, 0.3
    hook.test_out_dir, hook._test_index = str(tmp_path / "out"), 0
    hook._visualizer = SimpleNamespace(
        add_datasample=lambda *_, out_file, **__: written.append(out_file)
    )
    paths = [str(tmp_path / folder / "1.png") for folder in "ab"]
    for path in paths:
        (tmp_path / path).parent.mkdir()
        cv2.imwrite(path, np.zeros((8, 8, 3), np.uint8))
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=Images(paths)))
    hook.before_test(runner)
    hook.after_test_iter(None, 0, None, [SimpleNamespace(img_path=path) for path in paths])
    assert written == [str(tmp_path / "out" / name) for name in ("a/1.jpg", "b/1.jpg")]
