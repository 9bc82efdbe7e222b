"""Unusual images are read correctly; broken ones are named, and the others predicted."""

import json
import os
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image, ImageOps
from running import ROOT, run_inside
from small_models import DETECTOR

from uniformer_mm.datasets.media import read_image
from uniformer_mm.errors import UserError

WIDTH, HEIGHT = 64, 48
ROTATED = 6
"""EXIF orientation of images to rotate right by 90 degrees."""


def scene():
    """A smooth image of all colours."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    return Image.fromarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))


def with_orientation(image, path):
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    image.save(path, exif=exif)


def sixteen_bit(image, path):
    cv2.imwrite(str(path), np.asarray(image)[..., ::-1].astype(np.uint16) * 257)


def transparent(image, path):
    image.putalpha(Image.new("L", image.size, 0))
    image.save(path)


UNUSUAL = {
    "grey.png": lambda image, path: image.convert("L").save(path),
    "grey.jpg": lambda image, path: image.convert("L").save(path, quality=95),
    "grey_alpha.png": lambda image, path: image.convert("LA").save(path),
    "one_bit.png": lambda image, path: image.convert("1").save(path),
    "palette.png": lambda image, path: image.quantize(64).save(path),
    "transparent.png": transparent,
    "sixteen_bit.png": sixteen_bit,
    "cmyk.jpg": lambda image, path: image.convert("CMYK").save(path, quality=95),
    "rotated.jpg": with_orientation,
    "rotated.png": with_orientation,
    "film.webp": lambda image, path: image.save(path, save_all=True, append_images=[image]),
    "fine.bmp": lambda image, path: image.save(path),
    "fine.tif": lambda image, path: image.save(path),
    "other_name.png": lambda image, path: image.save(path, "jpeg", quality=95),
    "pixel.png": lambda image, path: image.crop((0, 0, 1, 1)).save(path),
    "line.png": lambda image, path: image.crop((0, 0, WIDTH, 1)).resize((300, 1)).save(path),
    "column.png": lambda image, path: image.crop((0, 0, 1, HEIGHT)).resize((1, 300)).save(path),
}
"""Functions that write valid files of unusual formats."""

BROKEN = {
    "truncated.jpg": lambda jpeg, _: jpeg[: len(jpeg) // 2],
    "truncated.png": lambda _, png: png[: len(png) // 2],
    "empty.jpg": lambda *_: b"",
    "text.jpg": lambda *_: b"not an image\n" * 9,
    "endless.png": lambda _, png: png[:16] + b"\x00\x0f\x00\x00" * 2 + png[24:],
}
"""Contents of invalid files, made from a valid JPEG and PNG file."""

HOSTILE = {
    "pipe.png": os.mkfifo,
    "device.png": lambda path: path.symlink_to("/dev/zero"),
    "loop.png": lambda path: path.symlink_to(path.name),
    "progressive.jpg": lambda path: path.write_bytes(progressive_jpeg()[:-999]),
    "svg.png": lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "stripe.png": lambda path: cv2.imwrite(str(path), np.zeros((10, 65500, 3), np.uint8)),
    "text.mp4": lambda path: path.write_text("no video"),
}
"""Functions that write what makes a program hang, crash or run out of memory."""

ODD_NAMES = ["not_utf8_\udcff.png", "new\nline\x1b[31m.png", "n" * 251 + ".png"]
"""Names of valid files."""


def progressive_jpeg():
    file = BytesIO()
    scene().save(file, "jpeg", progressive=True, quality=95)
    return file.getvalue()


def write_broken(folder, names=tuple(BROKEN)):
    scene().save(folder / "valid.jpg")
    scene().save(folder / "valid.png")
    valid = [(folder / f"valid.{kind}").read_bytes() for kind in ("jpg", "png")]
    for name in names:
        (folder / name).write_bytes(BROKEN[name](*valid))


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_images_are_what_pillow_says(tmp_path, name):
    path = tmp_path / name
    UNUSUAL[name](scene(), path)
    image = read_image(path)
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))[..., ::-1]
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 2
    loaded = LoadImageFromFile()({"img_path": str(path)})
    np.testing.assert_array_equal(loaded["img"], image)
    assert loaded["ori_shape"] == expected.shape[:2]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images_are_named(tmp_path, name):
    write_broken(tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path / name} cannot be read: ") as caught:
        read_image(tmp_path / name)
    assert str(caught.value).isprintable()


CLASSIFIER = f"""
_base_ = "{ROOT}/configs/cls/uniformer_s_in1k.py"
model = dict(backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 1, 1))))
"""
SMALL = ("test_dataloader.dataset.pipeline.1.scale=(96,64)", "model.test_cfg.rcnn.score_thr=0")


@pytest.mark.stack
@pytest.mark.parametrize(
    ("config", "unfit"),
    [(CLASSIFIER, ()), (DETECTOR, ("column.png", "line.png"))],
    ids=["classifier", "detector"],
)
def test_all_but_the_broken_images_of_a_folder_are_predicted(tmp_path, capsys, config, unfit):
    """A detector keeps the aspect ratio, which leaves no pixel of an image one pixel wide."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_broken(folder)
    for name, write in UNUSUAL.items():
        write(scene(), folder / name)
    for name, make in HOSTILE.items():
        make(folder / name)
    for name in ODD_NAMES:
        (folder / name).write_bytes((folder / "valid.png").read_bytes())
    (tmp_path / "model.py").write_text(config)
    options = ["--cfg-options", *SMALL] if config == DETECTOR else []
    arguments = (folder, "--random-weights", "--threshold", 0, "--out", out, *options)
    files = [path for path in folder.iterdir() if path.name not in HOSTILE]
    before = {path: path.read_bytes() for path in files}
    assert run_inside("infer.py", tmp_path / "model.py", *arguments) == 2
    error = capsys.readouterr().err.partition("error: ")[2].splitlines()[1:]
    assert sorted(Path(line.split(" ")[0]).name for line in error) == sorted(
        [*BROKEN, *HOSTILE, *unfit]
    )
    valid = sorted({*UNUSUAL, *ODD_NAMES, "valid.jpg", "valid.png"} - {*unfit})
    found = json.loads((out / "predictions.json").read_text())
    images = found["images"] if config == DETECTOR else found
    assert [image["file_name"] for image in images] == valid
    assert len(list((out / "pictures").iterdir())) == len(valid)
    sizes = {image["file_name"]: (image.get("width"), image.get("height")) for image in images}
    if config == DETECTOR:
        assert sizes["rotated.jpg"] == sizes["rotated.png"] == (HEIGHT, WIDTH)
    assert {path: path.read_bytes() for path in files} == before
