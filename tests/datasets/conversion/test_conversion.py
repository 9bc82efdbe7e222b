"""Datasets of other formats are read as they were drawn, in the layouts of their tools."""

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from drawn_formats import (
    CLASSES,
    JOINTS,
    SPLITS,
    draw,
    write_cvat,
    write_labelme,
    write_voc,
    write_yolo,
)
from PIL import Image
from pycocotools import mask as coco_mask

from uniformer_mm.datasets.conversion.coco_files import Split, convert
from uniformer_mm.errors import UserError

# name: (format, writer, its options, what the format has beside boxes)
KINDS = {
    "yolo boxes": ("yolo", write_yolo, {"kind": "detect"}, ""),
    "yolo polygons": ("yolo", write_yolo, {"kind": "segment"}, "polygons"),
    "yolo keypoints": ("yolo", write_yolo, {"kind": "pose"}, "keypoints"),
    "voc boxes": ("voc", write_voc, {}, ""),
    "voc masks": ("voc", write_voc, {"masks": True}, "masks"),
    "cvat boxes": ("cvat", write_cvat, {"kind": "box"}, ""),
    "cvat polygons": ("cvat", write_cvat, {"kind": "polygon"}, "polygons"),
    "cvat masks": ("cvat", write_cvat, {"kind": "mask"}, "masks"),
    "cvat skeletons": ("cvat", write_cvat, {"kind": "skeleton"}, "keypoints"),
    "labelme boxes": ("labelme", write_labelme, {"kind": "rectangle"}, ""),
    "labelme masks": ("labelme", write_labelme, {"kind": "mask"}, "masks"),
    "labelme polygons": ("labelme", write_labelme, {}, "polygons"),
}


def read_files(format_, source, tmp_path, split=None):
    """The content of the files for training and validation, by image name."""
    files = convert(format_, source, tmp_path / "converted", split or Split())
    contents = {}
    for name in ("train", "val"):
        content = json.loads(Path(getattr(files, name)).read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for image in content["images"]:
            assert Path(files.images, image["file_name"]).is_file()
        by_image = {Path(file).name: [] for file in names.values()}
        for annotation in content["annotations"]:
            by_image[Path(names[annotation["image_id"]]).name].append(annotation)
        contents[name] = (content, by_image)
    return contents


def annotations_of(contents):
    return {name: found for _, by_image in contents.values() for name, found in by_image.items()}


@pytest.mark.parametrize("name", KINDS)
def test_objects_equal_those_drawn(name, tmp_path):
    format_, write, options, extra = KINDS[name]
    pictures = write(tmp_path / "own set", **options)
    contents = read_files(format_, tmp_path / "own set", tmp_path)
    sizes = {}
    for content, _ in contents.values():
        assert [category["name"] for category in content["categories"]] == list(CLASSES)
        assert len({annotation["id"] for annotation in content["annotations"]}) == len(
            content["annotations"]
        )
        for image in content["images"]:
            sizes[Path(image["file_name"]).name] = (image["width"], image["height"])
    found = annotations_of(contents)
    assert sizes == {picture.file: (picture.width, picture.height) for picture in pictures}
    in_pixels = name.startswith("voc") or extra == "masks"
    for picture in pictures:
        assert len(found[picture.file]) == len(picture.objects)
        for annotation, drawn in zip(found[picture.file], picture.objects, strict=True):
            assert CLASSES[annotation["category_id"] - 1] == drawn.name
            expected = np.round(drawn.box) if in_pixels else drawn.box
            if name == "cvat masks":  # they lack the last column
                expected = np.subtract(expected, [0, 0, 1, 0])
            assert annotation["bbox"] == pytest.approx(expected, abs=1e-3)
            assert annotation["iscrowd"] == 0
            assert ("segmentation" in annotation) == (extra in ("polygons", "masks"))
            assert ("keypoints" in annotation) == (extra == "keypoints")
            if extra == "polygons":
                assert annotation["segmentation"] == [pytest.approx(drawn.polygon, abs=1e-3)]
            elif extra == "masks":
                x, y, w, h = map(round, annotation["bbox"])
                mask = np.zeros((picture.height, picture.width), np.uint8)
                mask[y : y + h, x : x + w] = 1
                np.testing.assert_array_equal(decode(annotation, picture), mask)
                assert annotation["area"] == w * h
            elif extra == "keypoints":
                points = [value for point in drawn.keypoints for value in point]
                assert annotation["keypoints"] == pytest.approx(points, abs=1e-3)
                assert annotation["num_keypoints"] == 2
    if extra == "keypoints":
        assert contents["train"][0]["categories"][0]["keypoints"] == list(JOINTS)


def decode(annotation, picture):
    mask = annotation["segmentation"]
    encoded = coco_mask.frPyObjects(mask, picture.height, picture.width)
    return coco_mask.decode(coco_mask.merge(encoded) if isinstance(mask, list) else encoded)


# ---------------------------------------------------------------------------------------- splits


def test_the_splits_of_a_dataset_are_kept(tmp_path):
    for format_, write in (("yolo", write_yolo), ("voc", write_voc)):
        write(tmp_path / format_)
        contents = read_files(format_, tmp_path / format_, tmp_path)
        for split, count in SPLITS.items():
            assert {*contents[split][1]} == {f"{split}{index}.jpg" for index in range(count)}


def test_a_share_replaces_the_splits_of_a_dataset(tmp_path):
    write_yolo(tmp_path / "own")
    contents = read_files("yolo", tmp_path / "own", tmp_path, Split(share=0.5, seed=3))
    assert [len(contents[name][1]) for name in ("train", "val")] == [3, 3]
    assert len(annotations_of(contents)) == 6


def test_splits_depend_on_names_and_seed_alone():
    names = [f"{index}.jpg" for index in range(100)]
    taken = Split(0.2).take(names)
    assert len(taken) == 20
    assert Split(0.2).take(reversed(names)) == taken
    assert Split(0.2, seed=1).take(names) != taken
    assert len(taken - Split(0.2).take([*names, "new.jpg"])) <= 1
    assert len(Split(0.001).take(names)) == 1
    assert len(Split(0.999).take(names)) == 99
    with pytest.raises(UserError, match="1 images cannot be split"):
        Split().take(["0.jpg"])


def test_a_converted_file_is_written_again_only_if_it_changes(tmp_path):
    write_yolo(tmp_path / "own")
    first = Path(convert("yolo", tmp_path / "own", tmp_path / "out", Split()).train)
    time = first.stat().st_mtime_ns
    assert Path(convert("yolo", tmp_path / "own", tmp_path / "out", Split()).train) == first
    assert first.stat().st_mtime_ns == time
    (tmp_path / "own/labels/train/train0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    convert("yolo", tmp_path / "own", tmp_path / "out", Split())
    assert first.stat().st_mtime_ns > time


# --------------------------------------------------------------------------------- other layouts


def test_yolo_of_labelimg_next_to_images(tmp_path):
    own = tmp_path / "own"
    write_yolo(own)
    for path in [*own.rglob("*.jpg"), *own.rglob("*.txt")]:
        path.rename(own / path.name)
    (own / "data.yaml").unlink()
    (own / "classes.txt").write_text("leaf\nstem\n")
    contents = read_files("yolo", own, tmp_path)
    assert [len(contents[name][1]) for name in ("train", "val")] == [5, 1]
    assert contents["train"][0]["categories"] == [
        {"id": 1, "name": "leaf"},
        {"id": 2, "name": "stem"},
    ]


def test_yolo_of_roboflow_with_a_folder_per_split(tmp_path):
    own = tmp_path / "own"
    write_yolo(own)
    for kind in ("images", "labels"):
        for split, folder in (("train", "train"), ("val", "valid")):
            (own / folder).mkdir(exist_ok=True)
            (own / kind / split).rename(own / folder / kind)
    content = {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}
    (own / "data.yaml").write_text(yaml.safe_dump({**content, "names": list(CLASSES), "nc": 2}))
    contents = read_files("yolo", own / "data.yaml", tmp_path)
    assert [len(contents[name][0]["annotations"]) for name in ("train", "val")] == [6, 2]


def test_yolo_with_lists_of_images_and_the_path_of_another_machine(tmp_path):
    own = tmp_path / "own"
    write_yolo(own, path="/home/somebody/own", train="train.txt", val=["images/val"])
    names = [f"./images/train/train{index}.jpg" for index in range(2)]
    (own / "train.txt").write_text("\n".join(names) + "\n")
    contents = read_files("yolo", own, tmp_path)
    assert [*contents["train"][1]] == ["train0.jpg", "train1.jpg"]


def test_yolo_of_darknet(tmp_path):
    own = tmp_path / "own"
    write_yolo(own, kind="detect")
    (own / "data.yaml").unlink()
    (own / "obj_train_data").mkdir()
    for path in [*own.rglob("*.jpg"), *own.rglob("*.txt")]:
        path.rename(own / "obj_train_data" / path.name)
    (own / "obj.names").write_text("leaf\nstem\n")
    assert len(annotations_of(read_files("yolo", own, tmp_path))) == 6


def test_voc_of_roboflow_with_a_folder_per_split(tmp_path):
    own = tmp_path / "own"
    write_voc(own)
    for split, folder in (("train", "train"), ("val", "valid")):
        (own / folder).mkdir()
        for path in [*own.rglob(f"{split}*.jpg"), *own.rglob(f"{split}*.xml")]:
            path.rename(own / folder / path.name)
    for folder in ("Annotations", "JPEGImages", "ImageSets"):
        shutil.rmtree(own / folder)
    contents = read_files("voc", own, tmp_path)
    assert [len(contents[name][1]) for name in ("train", "val")] == [4, 2]


def change_xml(path, change):
    tree = ElementTree.parse(path)
    change(tree.getroot())
    tree.write(path)


def test_voc_difficult_objects_are_crowds_and_polygons_are_outlines(tmp_path):
    write_voc(tmp_path / "own")

    def change(root):
        for element in root.findall("object"):
            element.find("difficult").text = "1"
            polygon = ElementTree.SubElement(element, "polygon")
            for index, (x, y) in enumerate([(9, 11), (20, 11), (20, 30)], 1):
                ElementTree.SubElement(polygon, f"x{index}").text = str(x)
                ElementTree.SubElement(polygon, f"y{index}").text = str(y)

    change_xml(tmp_path / "own/Annotations/train0.xml", change)
    found = annotations_of(read_files("voc", tmp_path / "own", tmp_path))
    assert [each["iscrowd"] for each in found["train0.jpg"]] == [1, 1]
    assert found["train0.jpg"][0]["segmentation"] == [[8, 10, 19, 10, 19, 29]]
    assert found["train1.jpg"][1]["segmentation"][0][:4] == [39, 12, 45, 12]  # of a box


def test_cvat_rotated_boxes_subsets_and_other_shapes(tmp_path, caplog):
    write_cvat(tmp_path / "own", kind="box")

    def change(root):
        first, *others = root.findall("image")
        for image in others:
            image.set("subset", "Train")
        first.set("subset", "Validation")
        first.find("box").set("rotation", "90.0")
        ElementTree.SubElement(first, "polyline", label="leaf", points="1,1;2,2")

    change_xml(tmp_path / "own/annotations.xml", change)
    contents = read_files("cvat", tmp_path / "own/annotations.xml", tmp_path)
    assert [*contents["val"][1]] == ["train0.jpg"]
    x, y, w, h = draw()[0].objects[0].box
    turned = [x + (w - h) / 2, y + (h - w) / 2, h, w]
    assert contents["val"][0]["annotations"][0]["bbox"] == pytest.approx(turned, abs=0.6)


def test_labelme_groups_are_one_object_and_other_shapes_are_counted(tmp_path, capfd):
    own = tmp_path / "own"
    write_labelme(own)
    path = own / "train0.json"
    content = json.loads(path.read_text())
    first, second = content["shapes"]
    second.update(label="leaf", group_id=1)
    first.update(group_id=1)
    content["shapes"].append({**first, "shape_type": "circle", "points": [[1, 1], [2, 2]]})
    path.write_text(json.dumps(content))
    found = annotations_of(read_files("labelme", own, tmp_path))
    (one,) = found["train0.jpg"]
    leaf, stem = draw()[0].objects
    assert one["segmentation"] == [leaf.polygon, stem.polygon]
    assert one["bbox"] == [8, 10, 36, 40]
    assert one["area"] == pytest.approx(270.344 + 240, abs=1e-3)
    assert "left out: 1 shapes of the type circle" in "".join(capfd.readouterr())


def test_masks_with_holes_are_run_lengths(tmp_path):
    own = tmp_path / "own"
    write_voc(own, masks=True)
    path = own / "SegmentationObject/train0.png"
    with Image.open(path) as image:
        numbers, palette = np.array(image), image.getpalette()
    numbers[20:24, 12:16] = 255
    changed = Image.fromarray(numbers, mode="P")
    changed.putpalette(palette)
    changed.save(path)
    annotation, _ = annotations_of(read_files("voc", own, tmp_path))["train0.jpg"]
    np.testing.assert_array_equal(decode(annotation, draw()[0]), numbers == 1)


def test_images_rotated_by_exif_have_the_size_that_loaders_see(tmp_path):
    own = tmp_path / "own"
    write_yolo(own)
    path = own / "images/train/train0.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[274] = 6
        image.save(path, exif=exif)
    content, _ = read_files("yolo", own, tmp_path)["train"]
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (72, 96)


# ---------------------------------------------------------------------------------------- faults


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


FAULTS = {
    "no folder": ("yolo", lambda own: shutil.rmtree(own), r"no folder or file .*own"),
    "no data.yaml": (
        "yolo",
        lambda own: (own / "data.yaml").unlink(),
        r"own has no data\.yaml, classes\.txt or obj\.names\. Write one",
    ),
    "not YAML": (
        "yolo",
        lambda own: (own / "data.yaml").write_text("names: [leaf"),
        r"data\.yaml: .*expected ',' or '\]'.* It must be YAML",
    ),
    "no names": (
        "yolo",
        lambda own: (own / "data.yaml").write_text("train: images/train"),
        r"data\.yaml: no names of classes",
    ),
    "gap in the names": (
        "yolo",
        lambda own: edit(own / "data.yaml", "1: stem", "2: stem"),
        r"`names` has the indices \[0, 2\], expected 0 to 1",
    ),
    "another number of names": (
        "yolo",
        lambda own: edit(own / "data.yaml", "names:", "nc: 3\nnames:"),
        r"nc is 3, but `names` has 2 classes",
    ),
    "no validation folder": (
        "yolo",
        lambda own: edit(own / "data.yaml", "images/val", "images/absent"),
        r"val is images/absent, but there is no folder .*own/images/absent",
    ),
    "class out of range": (
        "yolo",
        lambda own: (own / "labels/train/train1.txt").write_text("0 .5 .5 .1 .1\n7 .5 .5 .1 .1"),
        r"train1\.txt, line 2: class 7, but .*data\.yaml names 2 classes \(0 to 1\)",
    ),
    "pixels": (
        "yolo",
        lambda own: (own / "labels/train/train1.txt").write_text("0 48 36 10 10"),
        r"train1\.txt, line 1: the coordinate 48, expected a share",
    ),
    "not a number": (
        "yolo",
        lambda own: (own / "labels/train/train1.txt").write_text("0 .5 .5 .1 nan"),
        r"line 1: the coordinate nan",
    ),
    "six values": (
        "yolo",
        lambda own: (own / "labels/train/train1.txt").write_text("0 .5 .5 .1 .1 .9"),
        r"line 1: 6 values, expected 5 \(class, x, y, width, height\)",
    ),
    "no labels": ("yolo", lambda own: shutil.rmtree(own / "labels"), r"none of the 6 images in"),
    "empty labels": (
        "yolo",
        lambda own: [path.write_text("") for path in own.rglob("labels/*/*.txt")],
        r"none of the 6 images has an object",
    ),
    "an image without size": (
        "yolo",
        lambda own: (own / "images/train/train0.jpg").write_bytes(b"x"),
        r"train0\.jpg cannot be read as an image, and its size is unknown",
    ),
    "keypoints": (
        "yolo",
        lambda own: edit(own / "data.yaml", "names:", "kpt_shape: [3, 4]\nnames:"),
        r"kpt_shape is \[3, 4\], expected \[number of keypoints, 2 or 3\]",
    ),
    "no XML": ("voc", lambda own: shutil.rmtree(own / "Annotations"), r"own has no XML files"),
    "damaged XML": (
        "voc",
        lambda own: (own / "Annotations/train1.xml").write_text("<annotation>"),
        r"train1\.xml: no element found.* Expected Pascal VOC",
    ),
    "a box without a corner": (
        "voc",
        lambda own: edit(own / "Annotations/train1.xml", "xmin", "x"),
        r"train1\.xml: ",
    ),
    "a VOC image is missing": (
        "voc",
        lambda own: (own / "JPEGImages/train1.jpg").unlink(),
        r"there is no image of .*train1\.xml: expected .*JPEGImages/train1\.jpg",
    ),
    "other instances": (
        "voc",
        lambda own: Image.fromarray(np.full((72, 96), 5, np.uint8)).save(
            own / "SegmentationObject/train0.png"
        ),
        r"train0\.png has the values \[5\], but the XML file has 2 objects",
    ),
    "no annotations.xml": (
        "cvat",
        lambda own: (own / "annotations.xml").unlink(),
        r"there is no .*annotations\.xml: --cvat takes",
    ),
    "a CVAT image is missing": (
        "cvat",
        lambda own: (own / "images/train1.jpg").unlink(),
        r"there is no image .*images/train1\.jpg\. Export the dataset with 'Save images'",
    ),
    "a video": (
        "cvat",
        lambda own: (own / "annotations.xml").write_text(
            "<annotations><meta/><track id='0' label='leaf'/></annotations>"
        ),
        r"annotations\.xml is of a video",
    ),
    "an unknown label": (
        "cvat",
        lambda own: edit(own / "annotations.xml", 'label="stem"', 'label="root"'),
        r"the label 'root', which is not one of those in <meta>: leaf, stem",
    ),
    "bad points": (
        "cvat",
        lambda own: edit(own / "annotations.xml", 'points="', 'points="a'),
        r"annotations\.xml, image train0\.jpg: could not convert string to float",
    ),
    "no JSON": ("labelme", lambda own: shutil.rmtree(own), r"own has no JSON files"),
    "another JSON": (
        "labelme",
        lambda own: (own / "train1.json").write_text("[]"),
        r"train1\.json is not a file of LabelMe",
    ),
    "a LabelMe image is missing": (
        "labelme",
        lambda own: (own / "train1.jpg").unlink(),
        r"there is no image .*train1\.jpg, the imagePath of .*train1\.json",
    ),
    "two points": (
        "labelme",
        lambda own: shorten(own),
        r"train1\.json: LabelMe polygon shape \(label='leaf'\) has 2 point",
    ),
}


def shorten(own):
    path = own / "train1.json"
    content = json.loads(path.read_text())
    content["shapes"][0]["points"] = content["shapes"][0]["points"][:2]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_error_with_file_and_value(fault, tmp_path):
    format_, damage, message = FAULTS[fault]
    write = {"yolo": write_yolo, "cvat": write_cvat, "labelme": write_labelme}.get(format_)
    if write:
        write(tmp_path / "own")
    else:
        write_voc(tmp_path / "own", masks=True)
    damage(tmp_path / "own")
    with pytest.raises(UserError, match=message):
        convert(format_, tmp_path / "own", tmp_path / "out", Split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("format_", "library"),
    [("yolo", "dagshub_annotation_converter"), ("cvat", "lxml"), ("voc", "supervision")],
)
def test_a_missing_library_is_one_error(format_, library, tmp_path, monkeypatch):
    for module in [library, *(name for name in sys.modules if name.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"--{format_} needs .*uniformer-mm\[formats\]"):
        convert(format_, tmp_path, tmp_path / "out", Split())
