"""Predictions and ground truth as arrays, images and JSON."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from PIL import Image as PillowImage
from pycocotools.coco import COCO

from uniformer_mm.datasets.media import Clip, Frame, ImageFile, Video, VideoWriter, read_image
from uniformer_mm.errors import UserError
from uniformer_mm.visualization import ClassScores, Detections, LabelMap, Persons
from uniformer_mm.visualization.boxes import as_boxes, persons, read_boxes
from uniformer_mm.visualization.class_scores import probabilities
from uniformer_mm.visualization.detections import category_ids
from uniformer_mm.visualization.drawing import (
    BAR,
    GAP,
    Label,
    above_legend,
    contact_sheet,
    draw_labels,
    side_by_side,
    text_colour,
)
from uniformer_mm.visualization.result_folder import PredictionFolder, check_unused, stems_of

HEIGHT, WIDTH = 60, 80
GREY_IMAGE = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
SOURCE = Frame("a/image.jpg", GREY_IMAGE)
ANIMALS = {"classes": ("person", "cat"), "palette": [(255, 0, 0), (0, 0, 255)]}
SCENES = {"classes": ("sky", "sea", "sand"), "palette": [[255, 0, 0], [0, 255, 0], [0, 0, 255]]}
JOINTS = {
    "keypoint_id2name": {0: "head", 1: "foot", 2: "tail"},
    "skeleton_links": [(0, 1), (1, 2)],
    "skeleton_link_colors": np.array([[255, 0, 0], [0, 255, 0]]),
    "keypoint_colors": np.array([[255, 255, 0]] * 3),
}


def detections(threshold=0.3, source=SOURCE, masks=True):
    found = InstanceData(
        scores=torch.tensor([0.5, 0.9, 0.2]),
        labels=torch.tensor([1, 0, 0]),
        bboxes=torch.tensor([[10.0, 20, 30, 50], [40, 10, 70, 55], [0, 0, 5, 5]]),
    )
    if masks:
        found.masks = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
        found.masks[0, 25:45, 12:28] = True
        found.masks[1, 20:50, 45:65] = True
    return Detections.from_samples(
        source, [SimpleNamespace(pred_instances=found)], ANIMALS, threshold
    )


def label_map(labels, meta=SCENES, source=SOURCE):
    sample = SimpleNamespace(pred_sem_seg=SimpleNamespace(data=torch.tensor(labels)[None]))
    return LabelMap.from_samples(source, [sample], meta, 0)


def halves():
    labels = np.zeros((HEIGHT, WIDTH), np.int64)
    labels[45:] = 2
    return labels


def persons_of(threshold=0.3, count=2):
    samples = []
    for person in range(count):
        found = InstanceData(
            keypoints=np.array([[[20.0, 10], [20, 50], [40, 30]]]) + 30 * person,
            keypoint_scores=np.array([[0.9, 0.5, 0.1]]),
            bboxes=np.array([[5.0, 5, 45, 55]]),
        )
        samples.append(SimpleNamespace(pred_instances=found))
    return Persons.from_samples(SOURCE, samples, JOINTS, threshold)


def class_scores(scores, threshold=0.0, source=SOURCE, meta=ANIMALS):
    sample = SimpleNamespace(pred_score=torch.tensor(scores))
    return ClassScores.from_samples(source, [sample], meta, threshold)


def film(path, frames=6):
    with VideoWriter(path, 10) as writer:
        for _ in range(frames):
            writer.write(GREY_IMAGE)
    return Video(path, path.name)


def test_objects_are_sorted_and_those_of_low_score_left_out():
    found = detections()
    assert found.names == ["person", "cat"]
    np.testing.assert_allclose(found.scores, [0.9, 0.5])
    np.testing.assert_array_equal(found.boxes[1], [10, 20, 30, 50])
    assert found.masks.sum((1, 2)).tolist() == [600, 320]
    assert len(detections(threshold=0).scores) == 3


def test_objects_of_videos_are_drawn_in_the_colours_of_their_classes():
    drawn = detections().draw_on(GREY_IMAGE)
    assert drawn.shape == GREY_IMAGE.shape
    assert drawn[45, 55].argmax() == 2  # the person; BGR: red
    assert drawn[35, 20].argmax() == 0  # the cat
    np.testing.assert_array_equal(drawn[58, 78], GREY_IMAGE[58, 78])
    np.testing.assert_array_equal(detections().draw_on(GREY_IMAGE), drawn)
    assert not (detections(masks=False).draw()[45, 55] - GREY_IMAGE[45, 55]).any()
    np.testing.assert_array_equal(detections(threshold=0.95).draw(), GREY_IMAGE)
    found = detections()
    found.meta = {}
    assert found.names == ["class 0", "class 1"]
    assert (found.draw() != GREY_IMAGE).any()


def test_objects_are_saved_in_cocos_format(tmp_path):
    detections().save(tmp_path / "out" / "objects.json")
    coco = COCO(tmp_path / "out" / "objects.json")
    assert coco.loadImgs(1) == [
        {"id": 1, "file_name": "a/image.jpg", "height": HEIGHT, "width": WIDTH}
    ]
    first, second = coco.loadAnns([1, 2])
    assert (first["category_id"], first["score"], first["bbox"]) == (1, 0.9, [40, 10, 30, 45])
    np.testing.assert_array_equal(coco.annToMask(second), detections().masks[1])
    assert [category["name"] for category in coco.loadCats([1, 2])] == ["person", "cat"]
    assert len(coco.loadRes(coco.dataset["annotations"]).anns) == 2


def test_cocos_classes_have_cocos_numbers():
    names = ["person", *(f"thing {number}" for number in range(78)), "toothbrush"]
    numbers = category_ids({"classes": names}, 80)
    assert (numbers[0], numbers[11], numbers[79], len(numbers)) == (1, 13, 90, 80)
    assert category_ids({"classes": ["cat", "dog"]}, 2) == [1, 2]
    assert category_ids({}, 3) == [1, 2, 3]


def test_label_maps_have_a_legend_of_their_classes_below_or_names_in_frames():
    drawn = label_map(halves()).draw()
    assert drawn[10, 10].argmax() == 2
    assert drawn[50, 10].argmax() == 0
    legend = {tuple(pixel) for pixel in drawn[HEIGHT:].reshape(-1, 3)}
    assert {(0, 0, 255), (255, 0, 0), (255, 255, 255)} <= legend
    assert (0, 255, 0) not in legend, "there is no sea"
    heights = [len(above_legend(GREY_IMAGE, [("sofa", (255, 0, 0))] * n)) for n in (1, 2, 3)]
    assert heights[0] < heights[1] < heights[2], "names that do not fit take more lines"
    named = label_map(halves()).draw_on(GREY_IMAGE)
    assert named.shape == GREY_IMAGE.shape
    assert named[10, 3].argmax() == 2


def test_label_maps_are_saved_as_indices_with_a_palette(tmp_path):
    label_map(halves()).save_labels(tmp_path / "labels" / "map.png")
    image = PillowImage.open(tmp_path / "labels" / "map.png")
    np.testing.assert_array_equal(np.array(image), halves())
    assert image.convert("RGB").getpixel((0, 59)) == (0, 0, 255)
    shares = label_map(halves()).to_dict()["classes"]
    assert shares == [
        {"label": 0, "class": "sky", "share": 0.75},
        {"label": 2, "class": "sand", "share": 0.25},
    ]
    labels = halves() * 200  # of many classes: 16 bits
    label_map(labels, meta={}).save_labels(tmp_path / "map.png")
    np.testing.assert_array_equal(np.array(PillowImage.open(tmp_path / "map.png")), labels)


def test_persons_have_visible_joints_and_a_score():
    found = persons_of()
    assert found.keypoints.shape == (2, 3, 2)
    assert found.visible.tolist() == [[True, True, False]] * 2
    np.testing.assert_allclose(found.scores, 0.7)
    np.testing.assert_allclose(persons_of(threshold=0.95).scores, 0)


def test_skeletons_end_at_joints_that_are_not_visible():
    drawn = persons_of(count=1).draw()
    np.testing.assert_array_equal(drawn[30, 20], [0, 0, 255])  # head to foot, red
    np.testing.assert_array_equal(drawn[40, 30], GREY_IMAGE[40, 30])  # foot to tail
    np.testing.assert_array_equal(persons_of(count=0).draw(), GREY_IMAGE)


def test_persons_are_saved_in_cocos_format(tmp_path):
    persons_of().save(tmp_path / "people.json")
    coco = COCO(tmp_path / "people.json")
    person = coco.loadAnns(1)[0]
    assert person["keypoints"] == [20, 10, 2, 20, 50, 2, 40, 30, 1]
    assert (person["num_keypoints"], person["bbox"]) == (2, [5, 5, 40, 50])
    assert coco.loadCats(1)[0]["keypoints"] == ["head", "foot", "tail"]
    assert coco.loadCats(1)[0]["skeleton"] == [[1, 2], [2, 3]]
    assert persons_of(count=0).to_dict()["annotations"] == []


def test_the_best_classes_are_named():
    found = class_scores([0.25, 0.75])
    assert found.best() == [("cat", 0.75), ("person", 0.25)]
    assert found.best(1) == [("cat", 0.75)]
    assert class_scores([0.25, 0.75], threshold=0.5).best() == [("cat", 0.75)]
    assert found.to_dict() == {
        "file_name": "a/image.jpg",
        "classes": [
            {"label": 1, "class": "cat", "score": 0.75},
            {"label": 0, "class": "person", "score": 0.25},
        ],
    }


def test_logits_become_probabilities():
    logits, expected = torch.tensor([0.0, np.log(3)]), torch.tensor([0.25, 0.75])
    torch.testing.assert_close(probabilities(logits.float(), None), expected)
    torch.testing.assert_close(probabilities(expected, None), expected)


def test_small_images_are_enlarged_for_text():
    drawn = class_scores([0.25, 0.75]).draw()
    scale = 320 / HEIGHT
    header = drawn.shape[0] - 320
    assert drawn.shape[1] == round(WIDTH * scale)
    assert header > 0
    np.testing.assert_array_equal(drawn[header:], 128)
    # The bars are as long as the scores.
    is_bar = (drawn == BAR[::-1]).all(-1)  # BGR
    bars = [is_bar[row].nonzero()[0].max() for row in (header // 4, header - 8)]
    assert bars[0] / bars[1] == pytest.approx(3, rel=0.1)


def test_clips_are_drawn_as_their_frames_in_order(tmp_path):
    clip = Clip("film.mp4", film(tmp_path / "film.mp4"))
    drawn = class_scores([0.25, 0.75], source=clip).draw()
    assert drawn.shape[1] > 4 * 160
    from_array = Clip("array", images=np.stack([GREY_IMAGE] * 6))
    assert class_scores([0.25, 0.75], source=from_array).draw().shape == drawn.shape
    shades = np.linspace(40, 240, 25).astype(np.uint8)
    frames = np.ascontiguousarray(np.broadcast_to(shades[:, None, None, None], (25, 16, 16, 3)))
    sheet = contact_sheet(frames)
    middles = sheet[80 :: 160 + GAP, 80 :: 160 + GAP, 0].ravel()
    assert middles.tolist() == shades[np.linspace(0, 24, 8).astype(int)].tolist()


@pytest.mark.parametrize(("path", "loss"), [("drawn.png", 0), ("drawn.jpg", 20)])
def test_drawn_predictions_are_saved(tmp_path, path, loss):
    detections().save(tmp_path / path)
    difference = read_image(tmp_path / path).astype(int) - detections().draw()
    assert np.abs(difference).mean() <= loss


def test_a_folder_has_pictures_videos_and_one_file_of_data(tmp_path):
    video = film(tmp_path / "film.mp4")
    sources = [ImageFile(tmp_path, "a/image.jpg"), ImageFile(tmp_path, "a/image.png"), video]
    with PredictionFolder(tmp_path / "out", Detections, ANIMALS, sources) as folder:
        folder.add(detections())
        folder.add(detections(source=Frame("a/image.png", GREY_IMAGE)))
        for frame in video.frames():
            folder.add(detections(source=frame))
    assert len(folder) == 8
    assert {path.name for path in (tmp_path / "out" / "pictures" / "a").iterdir()} == {
        "image.jpg.png",
        "image.png.png",
    }
    written = cv2.VideoCapture(str(tmp_path / "out" / "pictures" / "film.mp4"))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    coco = COCO(tmp_path / "out" / "predictions.json")
    assert [image.get("frame") for image in coco.dataset["images"]] == [None, None, *range(6)]
    assert len(coco.anns) == 16


def test_a_folder_has_label_maps_of_every_frame(tmp_path):
    video = film(tmp_path / "film.mp4", 2)
    with PredictionFolder(tmp_path / "out", LabelMap, SCENES, [video]) as folder:
        for frame in video.frames():
            folder.add(label_map(halves(), source=frame))
    labels = tmp_path / "out" / "labels" / "film"
    assert {path.name for path in labels.iterdir()} == {"000000.png", "000001.png"}
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [entry["frame"] for entry in content] == [0, 1]


def test_a_folder_has_videos_of_whole_clips_and_of_parts(tmp_path):
    videos = [film(tmp_path / "one.mp4"), film(tmp_path / "two.mp4")]
    with PredictionFolder(tmp_path / "out", ClassScores, ANIMALS, videos) as folder:
        for clip in (*videos[0].clips(None), *videos[1].clips(4)):
            folder.add(class_scores([0.25, 0.75], source=clip))
    for name in ("one.mp4", "two.mp4"):
        assert Video(tmp_path / "out" / "pictures" / name, name).length == 6
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [entry.get("frames") for entry in content] == [None, [0, 3], [4, 5]]


def test_videos_of_cameras_take_as_long_as_the_run(tmp_path, monkeypatch):
    camera = film(tmp_path / "film.mp4")
    camera.length = None
    now = iter((0.0, 0.0, 0.0, 0.3, 0.4))  # the film begins; 10 frames per second
    clock = SimpleNamespace(monotonic=lambda: next(now))  # for that module alone
    monkeypatch.setattr("uniformer_mm.visualization.result_folder.time", clock)
    with PredictionFolder(tmp_path / "out", Detections, ANIMALS, [camera]) as folder:
        for frame in list(camera.frames())[:4]:
            folder.add(detections(source=frame))
    assert Video(tmp_path / "out" / "pictures" / "film.mp4", "film.mp4").length == 5


def test_predictions_before_an_error_are_kept(tmp_path):
    def broken_off():
        with PredictionFolder(tmp_path, Detections, ANIMALS, [ImageFile(tmp_path, "b.jpg")]) as out:
            out.add(detections(source=Frame("b.jpg", GREY_IMAGE)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert len(json.loads((tmp_path / "predictions.json").read_text())["images"]) == 1


def test_predictions_are_on_the_disk_as_they_come_and_survive_a_kill(tmp_path):
    name = "below/\udcff\x1b.jpg"
    folder = PredictionFolder(tmp_path, Detections, ANIMALS, [ImageFile(tmp_path, name)])
    folder.add(detections(source=Frame(name, GREY_IMAGE)))
    folder.add(detections(source=Frame(name, GREY_IMAGE)))
    (lines,) = tmp_path.glob("predictions-*.jsonl")
    entries = [json.loads(line) for line in lines.read_bytes().splitlines()]
    assert [entry["file_name"] for entry in entries] == [name, name]
    assert len(entries[0]["annotations"]) == 2
    with folder:
        pass
    coco = COCO(tmp_path / "predictions.json")
    assert [image["file_name"] for image in coco.dataset["images"]] == [name, name]
    assert [annotation["image_id"] for annotation in coco.dataset["annotations"]] == [1, 1, 2, 2]
    assert not list(tmp_path.glob("predictions-*"))
    assert not list(tmp_path.rglob(".*"))


def test_folders_in_use_are_refused(tmp_path):
    check_unused(tmp_path / "new")
    (tmp_path / "used").mkdir()
    check_unused(tmp_path / "used")
    (tmp_path / "used" / "notes.txt").write_text("")
    for path in ("used", "used/notes.txt"):
        with pytest.raises(UserError, match=rf"{path} .*--overwrite"):
            check_unused(tmp_path / path)


def test_names_are_those_of_the_files_made_portable():
    assert stems_of(["a/x.jpg", "x.jpg", "y.png", "y.jpg"]) == {
        "a/x.jpg": "a/x",
        "x.jpg": "x",
        "y.png": "y.png",
        "y.jpg": "y.jpg",
    }
    names = ["\udcff.jpg", "\udcfe.jpg", "a\n.jpg", "n" * 251 + ".jpg", "n" * 251 + ".ts", "é" * 99]
    stems = stems_of(names)
    assert len(set(stems.values())) == len(names)
    assert stems["é" * 99] == "é" * 99
    for stem in stems.values():
        assert stem.isprintable()
        assert len(f"{stem}.mp4".encode()) <= 255


def test_ground_truth_is_drawn_without_scores_and_ignored_pixels_are_not_tinted():
    labels = halves()
    labels[:20] = 255
    sample = BaseDataElement(gt_sem_seg=PixelData(data=torch.tensor(labels)[None]))
    drawn = LabelMap.from_ground_truth(SOURCE, [sample], SCENES).draw()
    np.testing.assert_array_equal(drawn[10, 10], 128)
    assert drawn[50, 10].argmax() == 0
    boxes = torch.tensor([[0.0, 0, 60, 50], [40, 10, 70, 55]])
    instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]))
    sample = BaseDataElement(gt_instances=instances)
    truth = Detections.from_ground_truth(SOURCE, [sample], ANIMALS)
    assert truth.names == ["cat", "person"]  # the smaller one on top
    for kind in (Detections, LabelMap, ClassScores, Persons):
        assert kind.from_ground_truth(SOURCE, [BaseDataElement()], JOINTS) is None


def test_joints_of_the_ground_truth_are_those_of_the_transformed_image():
    instances = InstanceData(
        keypoints=np.zeros((1, 3, 2)),
        transformed_keypoints=np.array([[[20.0, 10], [20, 50], [40, 30]]]),
        keypoints_visible=np.array([[1.0, 1, 0]]),
    )
    sample = BaseDataElement(gt_instances=instances)
    truth = Persons.from_ground_truth(SOURCE, [sample], JOINTS)
    np.testing.assert_array_equal(truth.visible, [[True, True, False]])
    np.testing.assert_array_equal(truth.draw()[30, 20], [0, 0, 255])  # head to foot, red


@pytest.mark.parametrize(
    ("data", "best"),
    [
        ({"gt_label": torch.tensor([1])}, [("cat", 1.0)]),
        ({"gt_label": torch.tensor([0, 1])}, [("person", 1.0), ("cat", 1.0)]),
        ({"gt_label": torch.tensor([0.25, 0.75])}, [("cat", 0.75), ("person", 0.25)]),
        ({"gt_label": torch.tensor([0]), "gt_score": torch.tensor([0, 1])}, [("cat", 1.0)]),
    ],
)
def test_ground_truth_classes_are_indices_or_shares(data, best):
    truth = ClassScores.from_ground_truth(SOURCE, [BaseDataElement(**data)], ANIMALS)
    assert truth.best() == best
    prediction = class_scores([0.25, 0.75])
    assert prediction.compare(truth).shape[0] > prediction.draw().shape[0]
    assert prediction.expected == {ANIMALS["classes"].index(name) for name, _ in best}


@pytest.mark.parametrize(("size", "shape"), [((10, 6000), 6000), ((6000, 10), 320)])
def test_drawn_stripes_are_not_enlarged(size, shape):
    source = Frame("x.png", np.zeros((*size, 3), np.uint8))
    drawn = class_scores([0.25, 0.75], source=source).draw()
    assert drawn.shape[1] == shape
    assert drawn.shape[0] < size[0] + 400


def test_boxes_are_those_of_persons(tmp_path):
    np.testing.assert_array_equal(persons(detections()), [[40, 10, 70, 55]])
    detections().save(tmp_path / "objects.json")
    boxes = read_boxes(tmp_path / "objects.json")
    np.testing.assert_array_equal(boxes["a/image.jpg", None], [[40, 10, 70, 55]])
    (tmp_path / "plain.json").write_text('{"x.jpg": [[1, 2, 3, 4]], "y.jpg": []}')
    boxes = read_boxes(tmp_path / "plain.json")
    np.testing.assert_array_equal(boxes["x.jpg", None], [[1, 2, 3, 4]])
    assert boxes["y.jpg", None].shape == (0, 4)
    content = {  # crowds are left out
        "images": [{"id": 7, "file_name": "film.mp4", "frame": 3}],
        "annotations": [
            {"image_id": 7, "bbox": [1, 2, 3, 4]},
            {"image_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    np.testing.assert_array_equal(
        read_boxes(tmp_path / "boxes.json")["film.mp4", 3], [[1, 2, 4, 6]]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("[1, 2]", "has no boxes of persons"),
        ("nonsense", "has no boxes of persons"),
        ("[" * 100_000, "has no boxes of persons"),
        ('{"images": [], "annotations": [{"image_id": 1}]}', "has no boxes of persons"),
        ('{"x.jpg": [[1, 2, 3]]}', "a box is four numbers"),
        ('{"x.jpg": [[5, 2, 3, 4]]}', "x1 < x2 and y1 < y2"),
    ],
)
def test_files_without_boxes_are_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(UserError, match=rf"boxes\.json.*{message}|{message}.*boxes\.json"):
        read_boxes(tmp_path / "boxes.json")


def test_boxes_of_persons_need_a_detector_of_persons():
    with pytest.raises(UserError, match="need a detector"):
        persons(persons_of())
    found = detections()
    found.meta = {"classes": ("cat", "dog")}
    with pytest.raises(UserError, match="no class 'person'"):
        persons(found)
    with pytest.raises(UserError, match="four numbers"):
        as_boxes([["a", 1, 2, 3]])


def test_panels_with_room_for_titles_are_of_one_size():
    image = np.full((40, 200, 3), 90, np.uint8)
    short, long = "short", "a title " * 20
    assert side_by_side([(short, image)], 3).shape < side_by_side([(long, image)], 3).shape
    for titles in ((short, short), (short, long), (long, long)):
        panels = [(title, image) for title in titles]
        drawn = side_by_side(panels, 2, lines=2)
        assert drawn.shape[1] == 2 * 200 + GAP
        assert drawn.shape == side_by_side([(short, image)] * 2, 2, lines=2).shape
        assert (drawn[-40:, :200] == image).all()
        assert (drawn[:, 200 : 200 + GAP] == 255).all()


def rectangles(drawn, colours):
    """Bounds of the pixels of each colour, as x1, y1, x2, y2."""
    found = []
    for colour in colours:
        rows, columns = np.nonzero((drawn == colour).all(-1))
        found.append((columns.min(), rows.min(), columns.max(), rows.max()))
    return found


def test_labels_do_not_cover_each_other():
    image = np.zeros((200, 300, 3), np.uint8)
    colours = [(200, 10 * index, 0) for index in range(16)]  # no blend with text has their red
    drawn = draw_labels(image, [Label("person 93%", 150, 100, colour) for colour in colours])
    bounds = rectangles(drawn, colours)
    first = bounds[0]
    assert first[0] == 150
    assert first[3] == 99, "the first one is above its point"
    for index, (x1, y1, x2, y2) in enumerate(bounds):
        size = (drawn[y1 : y2 + 1, x1 : x2 + 1] == colours[index]).all(-1).sum()
        assert size > 0.5 * (first[2] - first[0]) * (first[3] - first[1])
    assert (draw_labels(image[:20, :80], [Label("person", 0, 9, colours[0])] * 99) != 0).any()


@pytest.mark.parametrize("background", [(255, 255, 255), (230, 25, 60), (0, 0, 255), (90, 140, 60)])
def test_text_is_legible_on_its_background(background):
    def luminance(colour):
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(background), luminance(text_colour(background))))
    assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_objects_have_the_colours_of_those_they_match():
    truth = InstanceData(
        bboxes=torch.tensor([[10.0, 20, 30, 50], [40, 10, 70, 55]]), labels=torch.tensor([1, 1])
    )
    sample = BaseDataElement(gt_instances=truth)
    ground_truth = Detections.from_ground_truth(SOURCE, [sample], ANIMALS)
    found = detections()  # a person where there is a cat, and a cat
    found.compare(ground_truth)
    cat = ground_truth.boxes.tolist().index([10, 20, 30, 50])
    assert found.colours[1] == ground_truth.colours[cat]
    assert found.colours[0] not in ground_truth.colours
    assert len(set(ground_truth.colours)) == 2


def test_the_score_threshold_is_stated(monkeypatch):
    titles = []
    monkeypatch.setattr(
        "uniformer_mm.visualization.prediction.side_by_side",
        lambda panels, columns: titles.append([title for title, _ in panels]),
    )
    detections(threshold=0.25).compare(detections())
    label_map(halves()).compare(label_map(halves()))
    assert titles == [
        ["ground truth", "prediction, score ≥ 0.25"],
        ["ground truth", "prediction"],
    ]


@pytest.mark.parametrize("make", [detections, lambda: label_map(halves()), persons_of])
def test_small_samples_are_enlarged_with_what_is_drawn(make):
    small, large = make(), make().enlarged()
    factor = 320 / HEIGHT
    assert large.source.image.shape == (320, round(WIDTH * factor), 3)
    assert small.source.image.shape == GREY_IMAGE.shape
    if isinstance(small, LabelMap):
        assert (large.labels[:239] == 0).all()
        assert (large.labels[241:] == 2).all()
    else:
        np.testing.assert_allclose(large.boxes, small.boxes * factor, rtol=0.01)
    if isinstance(small, Persons):
        np.testing.assert_allclose(large.keypoints, small.keypoints * factor, rtol=0.01)
    if isinstance(small, Detections):
        assert large.masks.mean() == pytest.approx(small.masks.mean(), rel=0.05)
    assert large.enlarged() is large
