"""The codebases' own inferencers load a converted file and know its classes."""

import cv2
import numpy as np
import pytest
import torch
from small_models import small_config, small_state

from uniformer_mm.apis.convert import to_official, to_openmmlab
from uniformer_mm.tasks.short_run import scale_sizes

pytestmark = pytest.mark.stack


@pytest.fixture
def converted(tmp_path):
    """Makes a config with small inputs, and a converted official file of its model."""

    def make(name, factor):
        cfg = small_config(name)
        scale_sizes(cfg.test_dataloader.dataset.pipeline, factor)
        torch.save(small_state(cfg), tmp_path / "weights.pth")
        official, _ = to_official(cfg, str(tmp_path / "weights.pth"), tmp_path)
        path, _ = to_openmmlab(cfg, str(official), tmp_path)
        return cfg, str(path)

    return make


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def test_detector(converted, image, tmp_path):
    from mmdet.apis import DetInferencer

    cfg, path = converted("det/mask_rcnn_uniformer_xxs", 0.1)
    cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=3)
    inferencer = DetInferencer(cfg, path, device="cpu", show_progress=False)
    assert inferencer.visualizer.dataset_meta["classes"][79] == "toothbrush"
    assert len(inferencer.visualizer.dataset_meta["palette"]) == 80
    result = inferencer(image, out_dir=str(tmp_path / "out"))
    assert len(result["predictions"][0]["labels"]) == 3
    assert len(list((tmp_path / "out" / "vis").iterdir())) == 1


def test_segmenter(converted, image, tmp_path):
    from mmseg.apis import MMSegInferencer

    cfg, path = converted("seg/semantic_fpn_uniformer_xxs", 0.125)
    inferencer = MMSegInferencer(cfg, path, device="cpu")
    for meta in (inferencer.model.dataset_meta, inferencer.visualizer.dataset_meta):
        assert (len(meta["classes"]), len(meta["palette"])) == (150, 150)
        assert meta["classes"][149] == "flag"
    result = inferencer(image, return_vis=True)
    assert result["predictions"].shape == (48, 64)
    assert result["predictions"].max() >= 19, "more classes than Cityscapes has"
    assert (result["visualization"] != image).any()
    inferencer = MMSegInferencer(cfg, path, dataset_name="cityscapes", device="cpu")
    assert len(inferencer.visualizer.dataset_meta["classes"]) == 19, "if the user says so"


def test_pose_estimator(converted, image):
    from mmpose.apis import MMPoseInferencer, Pose2DInferencer

    cfg, path = converted("pose/td_hm_uniformer_s_256x192", 1)
    inferencer = Pose2DInferencer(cfg, path, device="cpu", det_model="whole_image")
    assert inferencer.model.dataset_meta["keypoint_id2name"][16] == "right_ankle"
    cfg.dump(f"{path}.py")
    inferencer = MMPoseInferencer(
        pose2d=f"{path}.py", pose2d_weights=path, device="cpu", det_model="whole_image"
    )
    result = next(inferencer(image, return_vis=True))
    assert np.shape(result["predictions"][0][0]["keypoints"]) == (17, 2)
    assert result["visualization"][0].shape == image.shape


def test_recognizer(converted, tmp_path):
    from mmaction.apis.inferencers import MMAction2Inferencer

    cfg, path = converted("video/uniformer_xxs_4x128_k400", 0.5)
    video = cv2.VideoWriter(
        str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48)
    )
    for shift in range(20):
        video.write(cv2.circle(np.zeros((48, 64, 3), np.uint8), (shift, 24), 9, (0, 255, 255), -1))
    video.release()
    cfg.dump(f"{path}.py")
    inferencer = MMAction2Inferencer(rec=f"{path}.py", rec_weights=path, device="cpu")
    recognizer = inferencer.actionrecog_inferencer
    assert recognizer.model.dataset_meta["classes"][1] == "marching"
    assert recognizer.visualizer.dataset_meta["classes"][1] == "marching"
    result = inferencer(str(tmp_path / "clip.mp4"), return_vis=True)
    assert len(result["predictions"][0]["rec_scores"][0]) == 400
    (tmp_path / "own.txt").write_text("\n".join(f"class {number}" for number in range(400)))
    inferencer = MMAction2Inferencer(
        rec=f"{path}.py", rec_weights=path, device="cpu", label_file=str(tmp_path / "own.txt")
    )
    meta = inferencer.actionrecog_inferencer.visualizer.dataset_meta
    assert meta["classes"][1] == "class 1", "if the user says so"


def test_classifier(converted, image):
    from mmpretrain import ImageClassificationInferencer

    cfg, path = converted("cls/uniformer_xxs_128_in1k", 0.5)
    inferencer = ImageClassificationInferencer(cfg, path, device="cpu")
    assert inferencer.classes[1] == "goldfish, Carassius auratus"
    (result,) = inferencer(image)
    assert result["pred_class"] == inferencer.classes[result["pred_label"]]
