"""Find the images, videos and cameras that paths name, and those in folders."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from uniformer_mm.datasets.media import (
    MAX_PIXELS,
    FrameFolder,
    ImageFile,
    Video,
    count_pixels,
)
from uniformer_mm.datasets.regular_files import objection, open_regular
from uniformer_mm.errors import UserError, printable

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
}
VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".ogv", ".wmv", ".asf"),
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".flv", ".f4v", ".gif"),
}

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
"""Pillow's names of the formats that are images rather than videos."""

NUMBERED = re.compile(r"(.*?)(\d+)")
"""Names of the frames of a video: an optional prefix and a number."""

FRAME_PREFIX = "img_"
"""Prefix of frames in mmaction2's layout, where the folder also holds optical flow."""


class Sources(list[ImageFile | Video]):
    """Images, videos and cameras that were found.

    Attributes:
        faults: Errors of those that cannot be read.
        skipped: Number of files in folders that were left out, by suffix.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[UserError] = []
        self.skipped: Counter[str] = Counter()


def find_sources(
    paths: Sequence[str | Path | int],
    videos_only: bool = False,
    frames: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Sources:
    """Find images, videos and cameras.

    Folders are searched recursively, without hidden files and links to folders.

    Args:
        paths: Files, folders and numbers of cameras.
        videos_only: Leave images in folders out, and refuse others. Folders of numbered images are
            videos.
        frames: Take every folder of images for the frames of a video.
        max_pixels: Limit above which images are not decoded.

    Returns:
        One entry per file and camera. Names are relative to the folder of the search; the same
        names are distinguished by the folders above.

    Raises:
        UserError: A path does not exist, or a folder has nothing to read.
    """
    check_paths(paths)
    found = Sources()
    cameras: dict[int, str] = {}
    files: dict[Path, str] = {}
    sequences: dict[Path, list[Path]] = {}
    for entry in paths:
        path = Path(str(entry))
        if str(entry).isdecimal():
            cameras[int(str(entry))] = f"camera_{entry}"
        elif os.path.isdir(path):
            inside = _files_below(path, found)
            folders = _frame_folders(inside, frames) if frames or videos_only else {}
            sequences |= folders
            images = {file for file in inside if file.suffix.lower() in IMAGE_SUFFIXES}
            left = images if videos_only or frames else set()
            for file in left - {frame for group in folders.values() for frame in group}:
                found.skipped[file.suffix.lower()] += 1
            chosen = [*folders, *(file for file in inside if file not in left)]
            files.update((file, _name_below(path, file)) for file in chosen)
            if not chosen and not found.faults:
                raise _nothing_in(path, videos_only, len(left))
        elif wrong := objection(path):
            found.faults.append(UserError(f"{printable(str(path))} {wrong}"))
        else:
            files[path] = path.name
    if len(set(files.values())) < len(files):
        absolute = {path: os.path.abspath(path) for path in files}
        root = os.path.commonpath(list(absolute.values()))
        files = {path: Path(absolute[path]).relative_to(root).as_posix() for path in files}
    found += [Video(number, name) for number, name in cameras.items()]
    for path, name in files.items():
        try:
            if path in sequences:
                found.append(FrameFolder(path, name, sequences[path], max_pixels))
            elif not is_image(path):
                found.append(Video(path, name))
            elif videos_only:
                raise UserError(
                    f"{printable(str(path))} is an image, but the model takes videos: give the"
                    " folder of a video's frames"
                )
            else:
                found.append(ImageFile(path, name, max_pixels))
        except UserError as error:
            found.faults.append(error)
    return found


def check_paths(paths: Sequence[str | Path | int]) -> None:
    """Check that files and folders exist.

    Raises:
        UserError: One does not.
    """
    for path in paths:
        if not str(path).isdecimal() and not os.path.lexists(str(path)):
            raise UserError(f"no file or folder {printable(str(path))}")


def is_image(path: str | Path) -> bool:
    """Whether a file is an image rather than a video, by its suffix or else its first bytes."""
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return suffix in IMAGE_SUFFIXES
    with open_regular(path) as file:
        return count_pixels(file, IMAGE_FORMATS) is not None


def _files_below(folder: Path, found: Sources) -> list[Path]:
    """Return images and videos by suffix, sorted; note in `found` what is left out."""
    inside = []
    unread: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.skipped["links to folders"] += sum(
            Path(parent, name).is_symlink() for name in folders
        )
        for path in (Path(parent, name) for name in names):
            suffix = path.suffix.lower()
            if path.name.startswith("."):
                found.skipped["hidden"] += 1
            elif suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                found.skipped[suffix or "no suffix"] += 1
            elif wrong := objection(path):
                found.faults.append(UserError(f"{printable(str(path))} {wrong}"))
            else:
                inside.append(path)
    found.faults += [
        UserError(f"cannot read the folder {printable(str(error.filename))}: {error.strerror}")
        for error in unread
    ]
    return sorted(inside)


def _frame_folders(files: Sequence[Path], all_images: bool) -> dict[Path, list[Path]]:
    """Return folders that hold the frames of a video, with the frames in order.

    Args:
        files: Images and videos.
        all_images: Take the images of every folder, not only numbered ones.
    """
    by_folder: dict[Path, dict[str, list[tuple[int, Path]]]] = {}
    for file in files:
        if file.suffix.lower() in IMAGE_SUFFIXES:
            match = NUMBERED.fullmatch(file.stem)
            prefix, number = (match[1], int(match[2])) if match else (file.stem, -1)
            by_folder.setdefault(file.parent, {}).setdefault(prefix, []).append((number, file))
    with_videos = {file.parent for file in files if file.suffix.lower() in VIDEO_SUFFIXES}
    folders = {}
    for folder, by_prefix in by_folder.items():
        groups = [by_prefix[FRAME_PREFIX]] if FRAME_PREFIX in by_prefix else [*by_prefix.values()]
        is_video = len(groups) == 1 and len(groups[0]) > 1 and folder not in with_videos
        if not is_video and all_images:
            groups = [*by_prefix.values()]
        if is_video or all_images:  # next to a video they are thumbnails of it
            folders[folder] = [file for group in groups for _, file in sorted(group)]
    return folders


def _name_below(folder: Path, path: Path) -> str:
    """Return a name relative to a folder, or that of the folder itself."""
    if path == folder:
        return Path(os.path.abspath(folder)).name
    return path.relative_to(folder).as_posix()


def _nothing_in(folder: Path, videos_only: bool, images: int) -> UserError:
    suffixes = VIDEO_SUFFIXES if videos_only else IMAGE_SUFFIXES | VIDEO_SUFFIXES
    wanted = "video" if videos_only else "image or video"
    hint = f" ({images} images: --frames takes them for the frames of a video)" if images else ""
    known = ", ".join(sorted(suffixes))
    return UserError(f"no {wanted} in {printable(str(folder))}{hint}: known are {known}")
