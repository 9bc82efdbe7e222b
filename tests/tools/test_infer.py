"""The tools that predict: files, folders and videos in, visualizations and data out."""

import builtins
import json
import os
import runpy
import signal
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from running import ROOT, run_inside
from small_models import CONFIGS, inference_options, read_config

from uniformer_mm import Inferencer
from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.datasets.media import Video, VideoWriter, write_image

pytestmark = pytest.mark.stack

NAMES = {"detector": "det", "pose": "pose", "classifier": "cls"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Configs of small models, and a folder with two images and a video."""
    folder = tmp_path_factory.mktemp("infer")
    for name, task in NAMES.items():
        cfg = read_config(CONFIGS[task])
        cfg.merge_from_dict(inference_options(task))
        cfg.dump(folder / f"{name}.py")
    noise = np.random.default_rng(0)
    for name in ("a.png", "below/b.png"):
        write_image(folder / "in" / name, noise.integers(0, 256, (64, 96, 3)).astype(np.uint8))
    with VideoWriter(folder / "in" / "film.mp4", 10) as writer:
        for _ in range(3):
            writer.write(noise.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def detected(folder):
    """Predictions of the detector for all of them."""
    out = folder / "detected"
    status = run_inside(
        "infer.py",
        folder / "detector.py",
        folder / "in",
        *("--random-weights", "--threshold", 0, "--out", out, "--batch-size", 2),
        *("--cfg-options", "model.test_cfg.rcnn.max_per_img=5"),
    )
    assert status == 0
    return out


def infer(folder, *arguments):
    return run_inside("infer.py", folder / "classifier.py", *arguments, "--random-weights")


def test_a_folder_is_predicted(folder, detected):
    pictures = detected / "pictures"
    files = [path for path in pictures.rglob("*") if path.is_file()]
    names = {path.relative_to(pictures).as_posix() for path in files}
    assert names == {"a.png", "below/b.png", "film.mp4"}
    assert Video(pictures / "film.mp4", "").length == 3
    assert (cv2.imread(str(pictures / "a.png")) != cv2.imread(str(folder / "in/a.png"))).any()
    coco = COCO(detected / "predictions.json")
    assert [image["file_name"] for image in coco.dataset["images"]] == [
        "a.png",
        "below/b.png",
        *["film.mp4"] * 3,
    ]
    assert len(coco.anns) == 5 * 5
    assert coco.annToMask(coco.anns[1]).shape == (64, 96)


def test_a_folder_of_frames_is_a_video(folder, tmp_path, capsys):
    for number, path in enumerate(sorted((folder / "in").rglob("*.png"))):
        (tmp_path / "clip").mkdir(exist_ok=True)
        (tmp_path / "clip" / f"{number}.png").write_bytes(path.read_bytes())
    (tmp_path / "clip" / "notes.txt").write_text("")
    assert infer(folder, tmp_path / "clip", "--frames", "--out", tmp_path / "out") == 0
    assert "skipped in folders: 1 .txt\n" in capsys.readouterr().out
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [(entry["file_name"], entry["frame"]) for entry in entries] == [("clip", 0), ("clip", 1)]
    assert Video(tmp_path / "out" / "pictures" / "clip.mp4", "").length == 2
    assert infer(folder, tmp_path / "clip", "--max-pixels", 100, "--out", tmp_path / "small") == 2
    error = capsys.readouterr().err
    assert error.count("6144 pixels") == error.count("--max-pixels") == 2


def test_poses_are_estimated_in_the_boxes_of_a_detector(folder, detected, capsys):
    people = ["--boxes", detected / "predictions.json", "--random-weights"]
    out = folder / "people"
    assert run_inside("infer.py", folder / "pose.py", folder / "in", *people, "--out", out) == 0
    assert "5 predictions in" in capsys.readouterr().out
    objects, found = (COCO(path / "predictions.json") for path in (detected, out))
    persons = objects.getAnnIds(catIds=1)
    assert len(found.anns) == len(persons)
    assert all(len(person["keypoints"]) == 51 for person in found.anns.values())


def test_large_images_are_predicted_in_slices(folder, tmp_path):
    pytest.importorskip("sahi")
    status = run_inside(
        *("infer.py", folder / "detector.py", folder / "in" / "a.png", "--random-weights"),
        *("--slice", 64, 0.5, "--threshold", 0, "--out", tmp_path / "out"),
        *("--attention", "window", "--window-size", 3),
    )
    assert status == 0
    coco = COCO(tmp_path / "out" / "predictions.json")
    assert len(coco.anns) > 5, "more than an image has without slices"
    assert coco.annToMask(coco.anns[1]).shape == (64, 96)


def test_existing_results_are_not_overwritten(folder, tmp_path, capsys):
    (tmp_path / "predictions.json").write_text("precious")
    image = folder / "in" / "a.png"
    assert infer(folder, image, "--out", tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert (tmp_path / "predictions.json").read_text() == "precious"
    (tmp_path / "notes.txt").write_text("mine")
    assert infer(folder, image, "--out", tmp_path, "--overwrite") == 0
    assert len(json.loads((tmp_path / "predictions.json").read_text())[0]["classes"]) == 5
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_damaged_images_are_named_and_the_others_predicted(folder, tmp_path, capsys):
    damaged = tmp_path / "damaged.png"
    damaged.write_text("no image")
    out = tmp_path / "out"
    assert infer(folder, damaged, folder / "in" / "a.png", "--out", out) == 2
    error = capsys.readouterr().err
    assert f"error: no predictions for 1 input:\n{damaged} " in error
    assert "Traceback" not in error
    assert len(json.loads((out / "predictions.json").read_text())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.png"], "none.png"),
        (["a.png", "--device", "nonsense"], "'nonsense'"),
        (["a.png", "--classes", "none.txt"], "none.txt"),
        (["a.png", "--checkpoint", "x.pth"], "random weights and a checkpoint"),
        (["a.png", "--detector", "a", "b", "c"], "--detector"),
        (
            ["a.png", "--boxes", "x.json"],
            "for pose estimation and action detection, not for mmpretrain",
        ),
        (["a.png", "--show"], "--show"),
        (["a.png", "--slice", "big", "0.2"], "got big 0.2"),
        (["a.png", "--slice", "64", "0.2"], "slices are for detection and segmentation"),
    ],
)
def test_mistakes_are_named(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder / "in")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert infer(folder, *arguments, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_window_is_closed_by_a_key(folder, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda _, picture: shown.append(picture.shape))
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q") if len(shown) == 2 else ord("x"))
    assert infer(folder, folder / "in", "--show", "--out", tmp_path / "out") == 0
    assert len(shown) == len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 2


@pytest.mark.parametrize(("source", "status"), [("in", 130), (0, 0)])
def test_predictions_before_an_interruption_are_kept(folder, tmp_path, monkeypatch, source, status):
    source = folder / source if source else source
    capture = cv2.VideoCapture
    film = str(folder / "in" / "film.mp4")
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: capture(film))
    stream = Inferencer.stream

    def interrupted(self, *arguments):
        yield from list(stream(self, *arguments))[:2]
        raise KeyboardInterrupt

    monkeypatch.setattr(Inferencer, "stream", interrupted)
    assert infer(folder, source, "--out", tmp_path / "out") == status
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 2


def test_the_number_of_predictions_is_known_in_advance(folder):
    count = runpy.run_path(str(ROOT / "tools" / "infer.py"))["count_predictions"]
    film = Video(folder / "in" / "film.mp4", "film.mp4")
    assert count([film, film], False, None) == 6
    assert count([film], True, None) == 1
    assert count([film], True, 2) == 2
    film.length = None
    assert count([film], False, None) is None


@pytest.fixture(scope="module")
def shelf(folder):
    """The models of the page: a local classifier, and those of the zoo."""
    demo = runpy.run_path(str(ROOT / "tools" / "demo.py"))
    config = str(folder / "classifier.py")
    model = Inferencer(config, device="cpu", random_weights=True).model
    torch.save({"state_dict": model.state_dict()}, folder / "classifier.pth")
    return demo, demo["Models"]([(config, str(folder / "classifier.pth"))], "cpu", max_frames=2)


def test_the_page_offers_models_with_weights(shelf):
    _, models = shelf
    own = "classifier (classifier.pth)"
    assert models.names["mmpretrain"][0] == own
    offered = {name for names in models.names.values() for name in names}
    assert offered == {own, *(model.name for model in list_models() if model.weights)}


def test_the_page_shows_images_and_videos(shelf, folder, tmp_path):
    _, models = shelf
    name = models.names["mmpretrain"][0]
    picture, data = models.predict(name, str(folder / "in" / "a.png"), 0.9, tmp_path)
    assert cv2.imread(str(picture)) is not None
    assert len(data["classes"]) == 5  # the threshold is for objects and keypoints
    counts = []
    film, data = models.predict(name, str(folder / "in/film.mp4"), 0.9, tmp_path, counts.append)
    assert film.suffix == ".webm"
    assert Video(film, "").length == len(data) == 2
    assert counts == [1, 2]


def test_the_page_names_a_missing_checkpoint(folder, capsys):
    assert run_inside("demo.py", "--model", folder / "classifier.py", "none.pth") == 2
    assert "no checkpoint none.pth" in capsys.readouterr().err


def test_the_page_needs_gradio(shelf, monkeypatch):
    demo, _ = shelf
    original = builtins.__import__

    def without_gradio(name, *arguments):
        if name == "gradio":
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_gradio)
    with pytest.raises(Exception, match="gradio"):
        demo["import_gradio"]()


def test_the_page_runs(shelf, folder, tmp_path):
    gradio = pytest.importorskip("gradio")
    demo, models = shelf
    page = demo["make_page"](gradio, models, tmp_path)
    functions = {function.name: function.fn for function in page.fns.values()}
    name = models.names["mmpretrain"][0]
    choices, tabs, image_tab, kind, slider = functions["choose"]("Actions", "Image")
    assert choices.value in models.names["mmaction"]
    assert (tabs.selected, image_tab.visible, kind, slider.visible) == (
        "Video",
        False,
        "Video",
        False,
    )
    *_, image_tab, kind, _ = functions["choose"]("Classification", "Image")
    assert (image_tab.visible, kind) == (True, "Image")
    image, video = ({"path": str(folder / "in" / file)} for file in ("a.png", "film.mp4"))
    picture, film, data = functions["run"](name, "Image", image, video, 0.3)
    assert (picture.visible, film.visible, data["file_name"]) == (True, False, "a.png")
    picture, film, data = functions["run"](name, "Video", image, video, 0.3)
    assert (picture.visible, film.visible, len(data)) == (False, True, 2)
    with pytest.raises(gradio.Error, match="Upload"):
        functions["run"](name, "Image", None, video, 0.3)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(gradio.Error, match=r"^.text\.png cannot be read: it is not an image"):
        functions["run"](name, "Image", {"path": str(tmp_path / "text.png")}, None, 0.3)
    with pytest.raises(gradio.Error, match="no model nonsense"):
        functions["run"]("nonsense", "Image", image, None, 0.3)


def test_the_page_has_examples_and_one_upload_box_per_kind(shelf, tmp_path):
    gradio = pytest.importorskip("gradio")
    demo, models = shelf
    images, videos = demo["examples"](gradio)
    assert all(cv2.imread(path) is not None for path in images)
    assert Video(Path(videos[0]), "").length == 150
    page = demo["make_page"](gradio, models, tmp_path)
    labels = [str(getattr(block, "value", "")) for block in page.blocks.values()]
    boxes = [
        block
        for block in page.blocks.values()
        if isinstance(block, gradio.Image | gradio.File) and block.interactive is not False
    ]
    assert [type(box) for box in boxes] == [gradio.Image, gradio.File]
    assert "Run" in labels


def test_old_results_are_deleted(shelf, tmp_path):
    demo, _ = shelf
    for name, age in (("old", demo["KEPT"] + 60), ("new", 0)):
        (tmp_path / "results" / name).mkdir(parents=True)
        os.utime(tmp_path / "results" / name, (time.time() - age,) * 2)
    demo["delete_old"](tmp_path / "results")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["new"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_signal_stops_the_server_and_deletes_uploads(
    shelf, folder, tmp_path, monkeypatch, number, status
):
    """The page is a stand-in that receives the signal after an upload."""

    class Page:
        def launch(self, **options):
            assert options["prevent_thread_lock"]
            uploads = Path(os.environ["GRADIO_TEMP_DIR"])
            uploads.mkdir()
            (uploads / "upload.png").write_bytes(b"")
            os.kill(os.getpid(), number)

    def end_process(status):
        raise SystemExit(status)

    demo, _ = shelf
    page_maker = {"import_gradio": MagicMock(), "make_page": lambda *_: Page()}
    for name, replacement in page_maker.items():
        monkeypatch.setitem(demo["main"].__globals__, name, replacement)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "_exit", end_process)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    before = [(each, signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGINT)]
    try:
        with pytest.raises(SystemExit) as caught:
            demo["main"]()
    finally:
        for each, handler in before:
            signal.signal(each, handler)
    assert caught.value.code == status
    assert not list(tmp_path.iterdir())
