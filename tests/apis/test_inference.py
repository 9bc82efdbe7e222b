"""From a file to a prediction in Python, for every task, with small models of random weights."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from pycocotools.coco import COCO
from small_models import CONFIGS, build_inferencer, inference_options, read_config

import uniformer_mm
from uniformer_mm.apis.inference import CAMERA_CLIP, find_device, read_classes
from uniformer_mm.datasets.media import Video, VideoWriter, write_image
from uniformer_mm.errors import UserError
from uniformer_mm.visualization import ClassScores, Detections, LabelMap, Persons

pytestmark = pytest.mark.stack

DETECTOR = Config({"default_scope": "mmdet", "model": {"type": "x"}})
ESTIMATOR = Config({"default_scope": "mmpose", "model": {}})
TYPES = {
    "det": Detections,
    "seg": LabelMap,
    "pose": Persons,
    "video": ClassScores,
    "cls": ClassScores,
}
FRAME = np.zeros((8, 8, 3), np.uint8)
IMAGE_TASKS = [task for task in CONFIGS if task != "video"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two images of one size, one of another, and a video of noise."""
    folder = tmp_path_factory.mktemp("files")
    noise = np.random.default_rng(0)
    for name, size in (("a.png", (48, 64)), ("b.png", (48, 64)), ("c.png", (70, 50))):
        coarse = noise.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        write_image(folder / name, cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC))
    with VideoWriter(folder / "film.mp4", 10) as writer:
        for _ in range(12):
            coarse = noise.integers(0, 256, (6, 8, 3)).astype(np.uint8)
            writer.write(cv2.resize(coarse, (64, 48)))
    return folder


def arrays(prediction):
    """The arrays of a prediction."""
    values = {name: value for name, value in vars(prediction).items() if name not in ("meta",)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def assert_same(found, expected):
    assert arrays(found).keys() == arrays(expected).keys() != set()
    for name, value in arrays(expected).items():
        if name in ("labels", "masks"):
            assert (arrays(found)[name] == value).mean() > 0.999
        else:
            np.testing.assert_allclose(arrays(found)[name], value, rtol=1e-3, atol=1e-4)


def predict_by_codebase(inferencer, path):
    """Predict on a file with the test pipeline of the config."""
    cfg = inferencer.cfg
    steps = [
        step
        for step in cfg.test_dataloader.dataset.pipeline
        if step["type"] not in ("LoadAnnotations", "LoadLabelMap")
    ]
    inputs = {"img_path": str(path), "filename": str(path), "modality": "RGB", "start_index": 0}
    if inferencer.task.scope == "mmpose":
        height, width = cv2.imread(str(path)).shape[:2]
        box = np.array([[0, 0, width, height]], np.float32)
        inputs.update(inferencer.meta, bbox=box, bbox_score=np.ones(1, np.float32))
    with DefaultScope.overwrite_default_scope(inferencer.task.scope), torch.no_grad():
        (sample,) = inferencer.model.test_step(pseudo_collate([Compose(steps)(inputs)]))
    inferencer.task.finish(inferencer.model, [sample])
    kind = inferencer.task.prediction_type
    return kind.from_samples(None, [sample], inferencer.meta, inferencer.threshold)


@pytest.mark.parametrize("task", CONFIGS)
def test_predictions_match_the_codebase(task, inferencer_of, files):
    inferencer = inferencer_of(task)
    path = files / ("film.mp4" if task == "video" else "a.png")
    prediction = inferencer.predict(str(path))
    assert type(prediction) is TYPES[task]
    assert_same(prediction, predict_by_codebase(inferencer, path))


@pytest.mark.parametrize("task", CONFIGS)
def test_arrays_and_files_give_the_same_predictions(task, inferencer_of, files, tmp_path):
    inferencer = inferencer_of(task)
    if task == "video":
        path = files / "film.mp4"
        array = np.stack(list(Video(path, path.name).images()))
    else:
        path = files / "c.png"
        array = cv2.imread(str(path))
    prediction = inferencer.predict(array)
    assert_same(prediction, inferencer.predict(path))
    if task == "video":
        assert_same(prediction, inferencer.predict(list(array)))
    prediction.save(tmp_path / "picture.png")
    assert cv2.imread(str(tmp_path / "picture.png")) is not None
    prediction.save(tmp_path / "data.json")
    if task == "det":
        coco = COCO(tmp_path / "data.json")
        assert len(coco.anns) == len(prediction.scores) == 5
        assert len(coco.cats) == 80
    else:
        assert (tmp_path / "data.json").stat().st_size > 20


@pytest.mark.parametrize("task", IMAGE_TASKS)
def test_a_batch_does_not_change_predictions(task, inferencer_of, files):
    paths = [files / "a.png", files / "c.png", files / "b.png"]
    alone = list(inferencer_of(task).stream(paths))
    together = list(inferencer_of(task, batch_size=3).stream(paths))
    assert [found.source.name for found in together] == ["a.png", "c.png", "b.png"]
    for one, other in zip(alone, together, strict=True):
        assert_same(other, one)


def test_folders_are_streamed_in_order_and_videos_frame_by_frame(inferencer_of, files):
    found = [prediction.source for prediction in inferencer_of("cls", batch_size=5).stream(files)]
    names = [(source.name, source.index) for source in found]
    images = [("a.png", None), ("b.png", None), ("c.png", None)]
    assert names == [*images, *(("film.mp4", index) for index in range(12))]


def test_recognizers_take_videos_or_clips_of_them(inferencer_of, files):
    inferencer = inferencer_of("video", batch_size=2)
    (whole,) = inferencer.stream(files)  # images in the folder are not for it
    assert whole.to_dict()["file_name"] == "film.mp4"
    assert len(whole.best()) == 5
    parts = list(inferencer.stream(files / "film.mp4", clip_length=5))
    assert [part.source.position["frames"] for part in parts] == [[0, 4], [5, 9], [10, 11]]
    for length in (0, -5):
        with pytest.raises(UserError, match=rf"clip length .*{length}$"):
            inferencer.stream(files, clip_length=length)


def test_rotated_videos_have_the_same_scores_whole_and_in_clips(inferencer_of, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3)).astype(np.uint8)
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90)
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    inferencer = inferencer_of("video")
    (part,) = inferencer.stream(path, clip_length=12)
    assert part.source.images.shape == (12, 64, 48, 3), "upright"
    np.testing.assert_array_equal(inferencer.predict(path).scores, part.scores)
    with av.open(str(path)) as container:
        lying = np.stack([frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)])
    upright = np.rot90(lying, axes=(1, 2))
    np.testing.assert_array_equal(inferencer.predict(upright).scores, part.scores)
    for task in IMAGE_TASKS:
        found = next(inferencer_of(task).stream(path))
        assert found.source.image.shape == (64, 48, 3)


def test_videos_are_resampled_as_the_test_pipeline_does(inferencer_of, files, monkeypatch):
    inferencer = inferencer_of("video")
    monkeypatch.setitem(inferencer.cfg.test_dataloader.dataset.pipeline[0], "fps", 25)
    path = files / "film.mp4"
    prediction = inferencer.predict(path)
    assert_same(prediction, predict_by_codebase(inferencer, path))
    (part,) = inferencer.stream(path, clip_length=30)
    assert len(part.source.images) == 30, "12 frames of 0.1 s each"
    np.testing.assert_array_equal(part.scores, prediction.scores)


def test_recognizers_take_cameras_in_clips(inferencer_of, files, monkeypatch):
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: capture(str(files / "film.mp4")))
    monkeypatch.setattr("uniformer_mm.apis.inference.CAMERA_CLIP", 8)
    assert CAMERA_CLIP == 64
    found = list(inferencer_of("video").stream(0))
    assert [part.source.position["frames"] for part in found] == [[0, 7], [8, 11]]


def test_poses_are_estimated_in_boxes_from_arguments_a_file_or_a_detector(inferencer_of, files):
    images = [files / "a.png", files / "b.png"]
    detected = list(inferencer_of("det").stream(images))
    inferencer = inferencer_of("pose", batch_size=2)
    boxes = [[0, 0, 64, 48], [10, 5, 40, 45], [5, 5, 30, 30]]
    found = inferencer.predict(images[0], boxes=boxes)
    assert found.keypoints.shape == (3, 17, 2)
    np.testing.assert_array_equal(found.boxes, boxes)
    whole = inferencer.predict(images[0])
    np.testing.assert_allclose(found.keypoints[0], whole.keypoints[0], atol=1e-3)
    inferencer.people = {("a.png", None): np.float32([[1, 2, 30, 40]])}
    assert [len(found.keypoints) for found in inferencer.stream(images)] == [1, 0]
    inferencer.people = inferencer_of("det")
    for poses, objects in zip(inferencer.stream(images), detected, strict=True):
        is_person = [name == "person" for name in objects.names]
        np.testing.assert_allclose(poses.boxes, objects.boxes[is_person], atol=1e-3)


def test_checkpoints_and_classes(tmp_path, inferencer_of, files):
    small = inferencer_of("cls")
    state = small.model.state_dict()
    meta = {"dataset_meta": {"classes": [f"thing {number}" for number in range(1000)]}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "small.pth")
    config = read_config(CONFIGS["cls"])
    loaded = uniformer_mm.Inferencer(
        config, tmp_path / "small.pth", device="cpu", cfg_options=inference_options("cls")
    )
    assert_same(loaded.predict(files / "a.png"), small.predict(files / "a.png"))
    assert loaded.predict(files / "a.png").best(1)[0][0].startswith("thing ")
    assert config.model.backbone.arch == "small"  # the caller's config is as it was
    names = [f"name {number}" for number in range(1000)]
    built = uniformer_mm.Inferencer(loaded.model, device="cpu", classes=names)
    assert built.predict(files / "a.png").best(1)[0][0].startswith("name ")


def test_lists_of_class_names():
    counts = {"kinetics400": 400, "kinetics600": 600, "sthv1": 174, "sthv2": 174}
    for name, count in {**counts, "ucf101": 101, "hmdb51": 51}.items():
        assert len(set(read_classes(name))) == count
    assert read_classes("kinetics400")[341] == "abseiling"
    assert read_classes("kinetics600")[0] == "feeding fish"
    with pytest.raises(UserError, match=r"kinetics is neither .* hmdb51, kinetics400"):
        read_classes("kinetics")


def test_devices(monkeypatch):
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert find_device("auto") == expected
    for name in ("nonsense", "cuda:99"):
        with pytest.raises(UserError, match=rf"'{name}'"):
            find_device(name)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["uniformer_small"], {}, r"uniformer_small"),
        (["missing.py"], {}, r"missing\.py"),
        (["mask_rcnn_uniformer_s"], {}, r"mask_rcnn_uniformer_s "),
        ([DETECTOR], {}, r"needs a checkpoint"),
        ([DETECTOR, "none.pth"], {}, r"none\.pth"),
        ([DETECTOR, "x.pth"], {"random_weights": True}, r"random weights and a checkpoint"),
        (
            [DETECTOR],
            {"people": "boxes.json"},
            r"pose estimation and action detection, not for mmdet",
        ),
        ([ESTIMATOR], {"people": "none.json"}, r"none\.json"),
        ([DETECTOR], {"threshold": 1.5}, r"threshold .*1\.5"),
        ([DETECTOR], {"batch_size": 0}, r"batch size .*0"),
        ([DETECTOR], {"cfg_options": {"model.type": {}}}, r"cfg_options .*the config"),
        ([torch.nn.Identity()], {}, r"default_scope must be one of"),
    ],
)
def test_invalid_arguments_are_named(arguments, options, message):
    with pytest.raises(UserError, match=message):
        uniformer_mm.Inferencer(*arguments, device="cpu", **options)


def test_the_number_of_class_names_is_checked(inferencer_of):
    with pytest.raises(UserError, match=r"hmdb51.*51.*1000"):
        uniformer_mm.Inferencer(inferencer_of("cls").model, device="cpu", classes="hmdb51")


@pytest.mark.parametrize(
    ("task", "source", "boxes", "message"),
    [
        ("cls", "none.png", None, r"none\.png: No such file"),
        ("cls", "film.mp4", None, r"film\.mp4 .*stream"),
        ("cls", "", None, r"folder.*stream"),
        ("cls", "a.png", [[0, 0, 1, 1]], r"action detection, not for mmpretrain"),
        ("pose", "a.png", [[0, 0, 1]], r"a box is four numbers"),
        ("video", "a.png", None, r"a\.png is an image"),
        ("video", "none.mp4", None, r"none\.mp4"),
        ("cls", np.zeros((8, 8), np.uint8), None, r"array \(H, W, 3\) of uint8, got \(8, 8\)"),
        ("cls", np.zeros((8, 8, 3)), None, r"of uint8, got \(8, 8, 3\) of float64"),
        ("video", np.zeros((8, 8, 3), np.uint8), None, r"array \(T, H, W, 3\) of uint8"),
        ("video", np.zeros((0, 8, 8, 3), np.uint8), None, r"array \(T, H, W, 3\) of uint8"),
        ("video", [], None, r"array \(T, H, W, 3\) of uint8"),
        ("video", [FRAME, FRAME[:4]], None, r"frames of a clip"),
        ("video", [FRAME, FRAME.astype(float)], None, r"of uint8, got .* of float64"),
        ("cls", [FRAME, FRAME], None, r"array \(H, W, 3\) of uint8, got \(2, 8, 8, 3\)"),
    ],
)
def test_invalid_inputs_are_named(inferencer_of, files, task, source, boxes, message):
    source = files / source if isinstance(source, str) else source
    with pytest.raises(UserError, match=message):
        inferencer_of(task).predict(source, boxes)


def test_truncated_videos_are_named(inferencer_of, files, tmp_path):
    content = (files / "film.mp4").read_bytes()
    (tmp_path / "short.mp4").write_bytes(content[: len(content) // 2])
    for task in ("video", "cls"):
        with pytest.raises(UserError, match=r"short\.mp4"):
            list(inferencer_of(task).stream(tmp_path / "short.mp4"))


def test_a_broken_file_does_not_stop_the_others(inferencer_of, files, tmp_path):
    (tmp_path / "b.png").write_text("no image")
    (tmp_path / "c.mp4").write_text("no video")
    write_image(tmp_path / "stripe.png", np.zeros((2, 4000, 3), np.uint8))
    for name in ("a.png", "d.png"):
        (tmp_path / name).write_bytes((files / "a.png").read_bytes())
    faults = []
    found = list(inferencer_of("cls").stream(tmp_path, faults=faults))
    assert [prediction.source.name for prediction in found] == ["a.png", "d.png"]
    with pytest.raises(UserError) as caught:
        list(inferencer_of("cls").stream(tmp_path))
    for reasons in (map(str, faults), str(caught.value).splitlines()):
        names = [Path(reason.split()[0]).name for reason in reasons]
        assert names == ["c.mp4", "b.png", "stripe.png"]


def test_an_input_that_the_model_refuses_is_named_unless_it_refuses_all(
    inferencer_of, files, monkeypatch
):
    inferencer = inferencer_of("cls")
    test_step = type(inferencer.model).test_step
    seen = []

    def refusing(self, data):
        seen.append(data)
        if len(seen) == 1:
            raise RuntimeError("out of memory")
        return test_step(self, data)

    monkeypatch.setattr(type(inferencer.model), "test_step", refusing)
    paths, faults = [files / "a.png", files / "b.png"], []
    found = list(inferencer.stream(paths, faults=faults))
    assert [prediction.source.name for prediction in found] == ["b.png"]
    assert ["a.png" in str(fault) and "out of memory" in str(fault) for fault in faults] == [True]
    seen.clear()
    with pytest.raises(RuntimeError, match="out of memory"):
        list(inferencer.stream(paths[:1], faults=[]))


def test_recognizers_take_folders_of_frames(inferencer_of, files, tmp_path):
    inferencer = inferencer_of("video", batch_size=2)
    video = Video(files / "film.mp4", "film.mp4")
    images = list(video.images())
    for index, image in enumerate(images):
        write_image(tmp_path / "clip" / f"img_{index}.png", image)
    expected = inferencer.predict(np.stack(images))
    assert_same(inferencer.predict(tmp_path / "clip"), expected)
    (found,) = inferencer.stream(tmp_path)
    assert_same(found, expected)
    assert found.to_dict()["file_name"] == "clip"
    parts = list(inferencer.stream(tmp_path / "clip", clip_length=5))
    assert [part.source.position["frames"] for part in parts] == [[0, 4], [5, 9], [10, 11]]


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="has no attribute 'Trainer'"):
        uniformer_mm.Trainer  # noqa: B018


def test_a_fused_copy_predicts_the_same(files):
    plain, fused = build_inferencer("cls"), build_inferencer("cls", fused=True)
    assert {type(block).__name__ for block in fused.model.backbone.blocks3} == {"FusedGlobalBlock"}
    expected, scores = (each.predict(files / "a.png").scores for each in (plain, fused))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("task", CONFIGS)
def test_predictions_in_bfloat16(task, files, inferencer_of, monkeypatch):
    monkeypatch.setattr(uniformer_mm.apis.inference, "has_fast_bf16", lambda: True)
    half = build_inferencer(task, dtype="bf16", threshold=0.0)
    source = files / ("film.mp4" if task == "video" else "a.png")
    found, expected = half.predict(source), inferencer_of(task).predict(source)
    assert half.model.backbone.blocks4[0].mlp.fc1.weight.dtype == torch.bfloat16
    if task == "det":  # masks are pasted, boxes and scores computed in fp32
        assert found.masks.shape == expected.masks.shape
        assert found.masks.any()
        np.testing.assert_allclose(found.scores.max(), expected.scores.max(), rtol=0.05)
    elif task == "seg":
        assert (found.labels == expected.labels).mean() > 0.95
    elif task == "pose":
        np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-3)
    else:
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0.05)


def test_bfloat16_is_refused_where_it_is_slower(monkeypatch):
    monkeypatch.setattr(uniformer_mm.apis.inference, "has_fast_bf16", lambda: False)
    with pytest.raises(UserError, match="slower than fp32: this CPU has neither AMX nor AVX512"):
        build_inferencer("cls", dtype="bf16")
    with pytest.raises(UserError, match="dtype must be one of fp32, bf16, got 'fp8'"):
        build_inferencer("cls", dtype="fp8")
