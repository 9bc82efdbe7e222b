"""From a file to a prediction in Python, for every task, on small models of random weights."""

from functools import cache
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

import uniformer_mm
from uniformer_mm.apis.inference import CAMERA_CLIP, find_device, read_classes
from uniformer_mm.apis.models import get_model
from uniformer_mm.datasets.media import Video, VideoWriter, write_image
from uniformer_mm.errors import UserError
from uniformer_mm.visualization import ClassScores, Detections, LabelMap, People

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ARCH = {"model.backbone.arch": {"_delete_": True, "depths": (1, 1, 1, 1)}}
SETTINGS = {
    "det": {
        "test_dataloader.dataset.pipeline.1.scale": (96, 64),
        "model.test_cfg.rcnn.max_per_img": 5,
        "model.test_cfg.rcnn.score_thr": 0.0,
        "model.test_cfg.rpn.max_per_img": 20,
    },
    "seg": {"test_dataloader.dataset.pipeline.1.scale": (128, 64)},
    "pose": {},
    "video": {
        "test_dataloader.dataset.pipeline.1.num_clips": 2,
        "test_dataloader.dataset.pipeline.3.scale": (-1, 32),
        "test_dataloader.dataset.pipeline.4.crop_size": 32,
    },
    "cls": {},
}
MODELS = {
    "det": "det/mask_rcnn_uniformer_s.py",
    "seg": "seg/semantic_fpn_uniformer_s_h14.py",
    "pose": "pose/td_hm_uniformer_s_256x192.py",
    "video": "video/uniformer_s_8x8_k400.py",
    "cls": "cls/uniformer_s_in1k.py",
}
DETECTOR = Config({"default_scope": "mmdet", "model": {"type": "x"}})
ESTIMATOR = Config({"default_scope": "mmpose", "model": {}})
TYPES = {
    "det": Detections,
    "seg": LabelMap,
    "pose": People,
    "video": ClassScores,
    "cls": ClassScores,
}
FRAME = np.zeros((8, 8, 3), np.uint8)
IMAGE_TASKS = [task for task in MODELS if task != "video"]


@cache
def config_of(task):
    return Config.fromfile(CONFIGS / MODELS[task])


def build(task, **options):
    torch.manual_seed(0)
    return uniformer_mm.Inferencer(
        config_of(task),
        device="cpu",
        random_weights=True,
        cfg_options={**ARCH, **SETTINGS[task]},
        **options,
    )


@pytest.fixture(scope="module")
def inferencers():
    """Of every task, built when first asked for; their options are reset after each test."""
    return {}


@pytest.fixture
def inferencer_of(inferencers):
    def inferencer_of(task, batch_size=1, threshold=0.0):
        if task not in inferencers:
            inferencers[task] = build(task)
        inferencer = inferencers[task]
        inferencer.batch_size, inferencer.threshold, inferencer.people = batch_size, threshold, None
        return inferencer

    return inferencer_of


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
    """All that is predicted."""
    values = {name: value for name, value in vars(prediction).items() if name not in ("meta",)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def assert_same(found, expected):
    assert arrays(found).keys() == arrays(expected).keys() != set()
    for name, value in arrays(expected).items():
        if name in ("labels", "masks"):
            assert (arrays(found)[name] == value).mean() > 0.999
        else:
            np.testing.assert_allclose(arrays(found)[name], value, rtol=1e-3, atol=1e-4)


def by_the_codebase(inferencer, path):
    """What the model says of a file through its config's own test pipeline."""
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


@pytest.mark.parametrize("task", MODELS)
def test_predictions_are_those_of_the_codebase(task, inferencer_of, files):
    inferencer = inferencer_of(task)
    path = files / ("film.mp4" if task == "video" else "a.png")
    prediction = inferencer.predict(str(path))
    assert type(prediction) is TYPES[task]
    assert_same(prediction, by_the_codebase(inferencer, path))


@pytest.mark.parametrize("task", MODELS)
def test_arrays_are_files_in_memory(task, inferencer_of, files, tmp_path):
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
    prediction.save(tmp_path / "data.json")
    assert (tmp_path / "data.json").stat().st_size > 20


@pytest.mark.parametrize("task", IMAGE_TASKS)
def test_a_batch_does_not_change_predictions(task, inferencer_of, files):
    paths = [files / "a.png", files / "c.png", files / "b.png"]
    alone = list(inferencer_of(task).stream(paths))
    together = list(inferencer_of(task, batch_size=3).stream(paths))
    assert [found.source.name for found in together] == ["a.png", "c.png", "b.png"]
    for one, other in zip(alone, together, strict=True):
        assert_same(other, one)


def test_models_of_images_see_videos_frame_by_frame(inferencer_of, files):
    found = list(inferencer_of("cls", batch_size=5).stream(files / "film.mp4"))
    assert [prediction.source.index for prediction in found] == list(range(12))


def test_folders_are_streamed_in_order(inferencer_of, files):
    found = list(inferencer_of("cls", batch_size=4).stream(files))
    assert [prediction.source.name for prediction in found[:4]] == [
        "a.png",
        "b.png",
        "c.png",
        "film.mp4",
    ]


def test_recognisers_look_at_videos_or_parts_of_them(inferencer_of, files):
    inferencer = inferencer_of("video", batch_size=2)
    (whole,) = inferencer.stream(files)  # images in the folder are not for it
    assert whole.to_dict()["file_name"] == "film.mp4"
    assert len(whole.best()) == 5
    parts = list(inferencer.stream(files / "film.mp4", clip_length=5))
    assert [part.source.position["frames"] for part in parts] == [[0, 4], [5, 9], [10, 11]]
    for length in (0, -5):
        with pytest.raises(UserError, match=f"clip length is at least 1 frame, not {length}"):
            inferencer.stream(files, clip_length=length)


def test_turned_videos_have_the_same_scores_whole_and_in_parts(inferencer_of, tmp_path):
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
    assert_same(prediction, by_the_codebase(inferencer, path))
    (part,) = inferencer.stream(path, clip_length=30)
    assert len(part.source.images) == 30, "12 frames of 0.1 s each"
    np.testing.assert_array_equal(part.scores, prediction.scores)


def test_recognisers_look_at_cameras_in_parts(inferencer_of, files, monkeypatch):
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: capture(str(files / "film.mp4")))
    monkeypatch.setattr("uniformer_mm.apis.inference.CAMERA_CLIP", 8)
    assert CAMERA_CLIP == 64
    found = list(inferencer_of("video").stream(0))
    assert [part.source.position["frames"] for part in found] == [[0, 7], [8, 11]]


def test_people_are_sought_in_boxes(inferencer_of, files):
    inferencer = inferencer_of("pose", batch_size=2)
    boxes = [[0, 0, 64, 48], [10, 5, 40, 45], [5, 5, 30, 30]]
    found = inferencer.predict(files / "a.png", boxes=boxes)
    assert found.keypoints.shape == (3, 17, 2)
    np.testing.assert_array_equal(found.boxes, boxes)
    whole = inferencer.predict(files / "a.png")
    np.testing.assert_allclose(found.keypoints[0], whole.keypoints[0], atol=1e-3)


def test_people_are_found_in_a_file_or_by_a_detector(inferencer_of, files, tmp_path):
    detector = inferencer_of("det")
    detected = list(detector.stream([files / "a.png", files / "b.png"]))
    (tmp_path / "boxes.json").write_text('{"a.png": [[1, 2, 30, 40], [5, 5, 9, 9]]}')
    listed = inferencer_of("pose")
    listed.people = {("a.png", None): np.float32([[1, 2, 30, 40]])}
    counts = [len(found.keypoints) for found in listed.stream(files / "a.png")]
    counts += [len(found.keypoints) for found in listed.stream(files / "b.png")]
    assert counts == [1, 0]
    by_detector = inferencer_of("pose", batch_size=2)
    by_detector.people = detector
    found = list(by_detector.stream([files / "a.png", files / "b.png"]))
    for people, objects in zip(found, detected, strict=True):
        is_person = [name == "person" for name in objects.names]
        np.testing.assert_allclose(people.boxes, objects.boxes[is_person], atol=1e-3)


def test_checkpoints_and_classes(tmp_path, inferencer_of, files):
    small = inferencer_of("cls")
    state = small.model.state_dict()
    meta = {"dataset_meta": {"classes": [f"thing {number}" for number in range(1000)]}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "small.pth")
    config = config_of("cls")
    loaded = uniformer_mm.Inferencer(config, tmp_path / "small.pth", device="cpu", cfg_options=ARCH)
    assert_same(loaded.predict(files / "a.png"), small.predict(files / "a.png"))
    assert loaded.predict(files / "a.png").best(1)[0][0].startswith("thing ")
    assert config.model.backbone.arch == "small"  # the caller's config is as it was
    names = [f"name {number}" for number in range(1000)]
    built = uniformer_mm.Inferencer(loaded.model, device="cpu", classes=names)
    assert built.predict(files / "a.png").best(1)[0][0].startswith("name ")


def test_models_of_the_zoo(files):
    inferencer = uniformer_mm.Inferencer(get_model("uniformer_xxs_128_in1k"), device="cpu")
    assert inferencer.predict(files / "a.png").scores.shape == (1000,)
    assert "goldfish" in inferencer.meta["classes"][1]


def test_predictions_are_saved_in_cocos_format(inferencer_of, files, tmp_path):
    prediction = inferencer_of("det").predict(files / "a.png")
    prediction.save(tmp_path / "a.json")
    coco = COCO(tmp_path / "a.json")
    assert len(coco.anns) == len(prediction.scores) == 5
    assert len(coco.cats) == 80


def test_lists_of_actions():
    counts = {"kinetics400": 400, "kinetics600": 600, "sthv1": 174, "sthv2": 174}
    for name, count in {**counts, "ucf101": 101, "hmdb51": 51}.items():
        assert len(set(read_classes(name))) == count
    assert read_classes("kinetics400")[341] == "abseiling"
    assert read_classes("kinetics600")[0] == "feeding fish"


def test_the_device_is_a_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == "cpu"


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_devices_that_are_not_there_are_named(device):
    with pytest.raises(UserError, match=rf"device '{device}' cannot be used"):
        find_device(device)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["uniformer_small"], {}, r"no model 'uniformer_small' in the zoo; "),
        (["missing.py"], {}, r"no config file missing\.py"),
        (["mask_rcnn_uniformer_s"], {}, r"mask_rcnn_uniformer_s has no public direct download"),
        ([DETECTOR], {}, r"the config needs a checkpoint"),
        ([DETECTOR, "none.pth"], {}, r"no checkpoint at none\.pth"),
        ([DETECTOR, "x.pth"], {"random_weights": True}, r"choose one of them"),
        ([DETECTOR], {"people": "boxes.json"}, r"people are for pose estimation, not for mmdet"),
        ([ESTIMATOR], {"people": "none.json"}, r"cannot read none\.json"),
        ([DETECTOR], {"threshold": 1.5}, r"from 0 to 1, not 1\.5"),
        ([DETECTOR], {"batch_size": 0}, r"at least one input, not 0"),
        ([DETECTOR], {"cfg_options": {"model.type": {}}}, r"the options do not fit the config"),
        ([torch.nn.Identity()], {}, r"default_scope must be one of"),
    ],
)
def test_what_cannot_be_built_is_named(arguments, options, message):
    with pytest.raises(UserError, match=message):
        uniformer_mm.Inferencer(*arguments, device="cpu", **options)


def test_as_many_names_as_classes_are_needed(inferencer_of):
    with pytest.raises(UserError, match=r"hmdb51: the names of 51 classes .* the model has 1000"):
        uniformer_mm.Inferencer(inferencer_of("cls").model, device="cpu", classes="hmdb51")


def test_files_of_one_name_are_told_apart(inferencer_of, files, tmp_path):
    write_image(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8))
    found = inferencer_of("cls").stream([files / "a.png", tmp_path / "a.png"])
    assert len({prediction.source.name for prediction in found}) == 2


def test_unknown_lists_of_classes_are_named():
    with pytest.raises(UserError, match=r"kinetics is neither a file .* hmdb51, kinetics400"):
        read_classes("kinetics")


@pytest.mark.parametrize(
    ("task", "source", "boxes", "message"),
    [
        ("cls", "none.png", None, r"cannot read .*none\.png: No such file"),
        ("cls", "film.mp4", None, r"film\.mp4 is not an image: for videos, use stream"),
        ("cls", "", None, r"is a folder: use stream"),
        ("cls", "a.png", [[0, 0, 1, 1]], r"boxes are for pose estimation, not for mmpretrain"),
        ("pose", "a.png", [[0, 0, 1]], r"a box is four numbers"),
        ("video", "a.png", None, r"a\.png is an image, and the model looks at videos"),
        ("video", "none.mp4", None, r"no file or folder .*none\.mp4"),
        ("cls", np.zeros((8, 8), np.uint8), None, r"array \(H, W, 3\) of uint8, got \(8, 8\)"),
        ("cls", np.zeros((8, 8, 3)), None, r"of uint8, got \(8, 8, 3\) of float64"),
        ("video", np.zeros((8, 8, 3), np.uint8), None, r"array \(T, H, W, 3\) of uint8"),
        ("video", np.zeros((0, 8, 8, 3), np.uint8), None, r"array \(T, H, W, 3\) of uint8"),
        ("video", [], None, r"array \(T, H, W, 3\) of uint8"),
        ("video", [FRAME, FRAME[:4]], None, r"frames of a clip have one size"),
        ("video", [FRAME, FRAME.astype(float)], None, r"of uint8, got .* of float64"),
        ("cls", [FRAME, FRAME], None, r"array \(H, W, 3\) of uint8, got \(2, 8, 8, 3\)"),
    ],
)
def test_what_a_model_cannot_look_at_is_named(inferencer_of, files, task, source, boxes, message):
    source = files / source if isinstance(source, str) else source
    with pytest.raises(UserError, match=message):
        inferencer_of(task).predict(source, boxes)


def test_truncated_videos_are_named(inferencer_of, files, tmp_path):
    content = (files / "film.mp4").read_bytes()
    (tmp_path / "short.mp4").write_bytes(content[: len(content) // 2])
    for task in ("video", "cls"):
        with pytest.raises(UserError, match=r"short\.mp4 cannot be read"):
            list(inferencer_of(task).stream(tmp_path / "short.mp4"))


def test_faults_may_be_collected(inferencer_of, files, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    paths = [files / "a.png", tmp_path / "broken.png", files / "b.png"]
    faults = []
    found = list(inferencer_of("cls").stream(paths, faults=faults))
    assert [prediction.source.name for prediction in found] == ["a.png", "b.png"]
    assert [str(fault).startswith(str(tmp_path / "broken.png")) for fault in faults] == [True]
    with pytest.raises(UserError, match=r"broken\.png cannot be read"):
        list(inferencer_of("cls").stream(paths))


def test_a_broken_file_does_not_keep_others_from_being_predicted(inferencer_of, files, tmp_path):
    (tmp_path / "b.png").write_text("no image")
    (tmp_path / "c.mp4").write_text("no video")
    write_image(tmp_path / "stripe.png", np.zeros((2, 4000, 3), np.uint8))
    for name in ("a.png", "d.png"):
        (tmp_path / name).write_bytes((files / "a.png").read_bytes())
    found = []
    stream = inferencer_of("cls").stream(tmp_path)
    with pytest.raises(UserError) as caught:
        found.extend(prediction.source.name for prediction in stream)
    assert found == ["a.png", "d.png"]
    reasons = str(caught.value).splitlines()
    assert [Path(line.split()[0]).name for line in reasons] == ["c.mp4", "b.png", "stripe.png"]


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


def test_recognisers_look_at_folders_of_frames(inferencer_of, files, tmp_path):
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
    plain, fused = build("cls"), build("cls", fused=True)
    assert {type(block).__name__ for block in fused.model.backbone.blocks3} == {"FusedGlobalBlock"}
    expected, scores = (each.predict(files / "a.png").scores for each in (plain, fused))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-7)
