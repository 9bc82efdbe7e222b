#!/usr/bin/env python
"""A web page: upload an image or a video, choose a model, and see its predictions.

Examples:
  tools/demo.py
  tools/demo.py --model configs/det/mask_rcnn_uniformer_s.py epoch_12.pth --port 8080
  uv run --extra demo tools/demo.py

The page offers the models of the zoo with public weights, downloaded on first use, and those of
--model. Uploads stay on this machine. Uploads and results are deleted after an hour, and when the
server stops (Ctrl-C or SIGTERM). Result videos are WebM files, which every browser plays.
"""

import argparse
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from matplotlib.cbook import get_sample_data

from uniformer_mm import Inferencer
from uniformer_mm.apis.cli import add_dtype_argument, run_tool
from uniformer_mm.apis.config import load_config
from uniformer_mm.apis.inference import check_dtype, find_device
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.checkpoints.zoo import list_models
from uniformer_mm.datasets.finding import is_image
from uniformer_mm.datasets.media import Clip, Video, VideoWriter
from uniformer_mm.errors import UserError, printable
from uniformer_mm.tasks import TASKS, task_of

TITLES = {
    "mmdet": "Objects",
    "mmseg": "Segmentation",
    "mmpose": "Pose (the whole image is one person)",
    "mmaction": "Actions",
    "mmpretrain": "Classification",
}
"""Names of the tasks, by codebase."""

SCOPES = {task.extra: scope for scope, task in TASKS.items()}
"""Codebases by folder of the zoo."""

IMAGE, VIDEO = "Image", "Video"
"""Kinds of inputs."""

BOX_HEIGHT = 240
"""Height of an upload box in pixels, which leaves the button in view."""

LOADED = 2
"""Maximal number of models in memory."""

KEPT = 3600
"""Seconds after which uploads and results are deleted."""

ATTEMPTS = 100
"""Attempts to delete a folder into which another thread writes."""

CLEANUP_INTERVAL = 600
"""Seconds between two deletions of old files."""


class Models:
    """The models of the page, each built on first use.

    Args:
        local: Config and checkpoint of each local model.
        device: 'auto', or a PyTorch device name.
        max_frames: Maximal number of frames of a video for an image model.
        dtype: As for `Inferencer`.

    Attributes:
        names: Model names by codebase, local models first; codebases without a model are left out.
    """

    def __init__(
        self, local: Sequence[Sequence[str]], device: str, max_frames: int, dtype: str = "fp32"
    ) -> None:
        check_dtype(dtype, find_device(device))
        self.names: dict[str, list[str]] = {scope: [] for scope in TITLES}
        self._device, self._dtype = device, dtype
        self._max_frames = max_frames
        self._sources: dict[str, tuple[str, str]] = {}
        self._loaded: OrderedDict[str, Inferencer] = OrderedDict()
        for config, checkpoint in local:
            if not Path(checkpoint).is_file():
                raise UserError(f"no checkpoint {checkpoint}")
            name = f"{Path(config).stem} ({Path(checkpoint).name})"
            self.names[task_of(load_config(config)).scope].append(name)
            self._sources[name] = (config, checkpoint)
        for model in list_models():
            if model.weights:
                self.names[SCOPES[model.task]].append(model.name)
                self._sources[model.name] = (model.name, model.name)
        self.names = {scope: names for scope, names in self.names.items() if names}

    def predict(
        self,
        name: str,
        path: str,
        threshold: float,
        folder: Path,
        report: Callable[[int], None] = lambda _: None,
    ) -> tuple[Path, Any]:
        """A visualization of the predictions on an image or a video, and the predictions.

        Args:
            name: Name of the model.
            path: Image or video.
            threshold: Score threshold of objects and keypoints.
            folder: For the result.
            report: Called after each frame of a video with the number of frames done.

        Raises:
            UserError: The file or the weights cannot be read, or do not fit the model.
        """
        if name not in self._sources:
            raise UserError(f"no model {name}")
        inferencer = self._inferencer(name)
        if has_threshold(inferencer.task.scope):
            inferencer.threshold = threshold
        if is_image(path):
            prediction = inferencer.predict(path)
            result = folder / "result.png"
            prediction.save(result)
            return result, prediction.to_dict()
        entries = []
        video = Video(Path(path), Path(path).name)
        result = folder / "result.webm"
        with VideoWriter(result, video.rate) as writer:
            for prediction in islice(inferencer.stream([video]), self._max_frames):
                entries.append(prediction.to_dict())
                source = prediction.source
                frames = source.frames() if isinstance(source, Clip) else [source.image]
                for frame in frames:
                    writer.write(prediction.draw_on(frame))
                report(len(entries))
        return result, entries

    def _inferencer(self, name: str) -> Inferencer:
        if name not in self._loaded:
            while len(self._loaded) >= LOADED:
                self._loaded.popitem(last=False)
            model, checkpoint = self._sources[name]
            self._loaded[name] = Inferencer(
                model, checkpoint, device=self._device, dtype=self._dtype
            )
        self._loaded.move_to_end(name)
        return self._loaded[name]


def main() -> None:
    """Parse the command line and run the server."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        nargs=2,
        action="append",
        default=[],
        metavar=("CONFIG", "CHECKPOINT"),
        help="a local model; may be repeated",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda ... (default: auto)")
    add_dtype_argument(parser)
    parser.add_argument(
        "--max-frames",
        type=int,
        default=100,
        help="maximal number of frames of a video for image models (default: 100)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="0.0.0.0 lets other machines connect (default: 127.0.0.1)",
    )
    parser.add_argument("--port", type=int, default=7860, help="(default: 7860)")
    arguments = parser.parse_args()
    keep_freed_memory()
    # By default, gradio does not check for a newer version.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    models = Models(arguments.model, arguments.device, arguments.max_frames, arguments.dtype)
    gradio = import_gradio()
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: ended.put(number))
    with tempfile.TemporaryDirectory(prefix="uniformer-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
        theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
        page = make_page(gradio, models, Path(folder, "results"))
        try:
            page.launch(
                server_name=arguments.host,
                server_port=arguments.port,
                theme=theme,
                show_error=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise UserError(f"port {arguments.port} cannot be used: choose --port") from error
        number = ended.get()
        end(Path(folder), 0 if number == signal.SIGINT else 128 + number)


def end(folder: Path, status: int) -> None:
    """Delete a folder and end the process at once, without waiting for threads."""
    for _ in range(ATTEMPTS):  # a prediction may be writing into it
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
    sys.stdout.flush()
    os._exit(status)


def delete_old(folder: Path) -> None:
    """Delete results after `KEPT` seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in folder.iterdir():
        if time.time() - result.stat().st_mtime > KEPT:
            shutil.rmtree(result, ignore_errors=True)


def has_threshold(scope: str) -> bool:
    """Whether the predictions of a codebase have a score threshold."""
    return TASKS[scope].prediction_type.default_threshold > 0


def import_gradio() -> Any:
    """The package gradio.

    Raises:
        UserError: It is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise UserError(
            "the page needs gradio: pip install 'uniformer-mm[demo]', or run"
            " `uv run --extra demo tools/demo.py`"
        ) from error
    return gradio


def examples(gradio: Any) -> tuple[list[str], list[str]]:
    """Images and videos to try, which matplotlib and gradio ship."""
    person = str(get_sample_data("grace_hopper.jpg", asfileobj=False))
    animals = [gradio.get_image(name) for name in ("cheetah.jpg", "lion.jpg")]
    return [person, *animals], [gradio.get_video("b.mp4")]


def make_page(gradio: Any, models: Models, folder: Path) -> Any:
    """The page: inputs on the left, results on the right.

    Args:
        gradio: The package.
        models: The models to choose from.
        folder: For results.
    """
    scopes = {TITLES[scope]: scope for scope in models.names}
    tasks = {title: models.names[scope] for title, scope in scopes.items()}
    clips_only = {TITLES[scope] for scope, task in TASKS.items() if task.takes_clips}

    def choose(task: str, kind: str) -> tuple[Any, ...]:
        """Update the inputs for a task."""
        names = tasks[task]
        kind = VIDEO if task in clips_only else kind
        return (
            gradio.Dropdown(choices=names, value=names[0]),
            gradio.Tabs(selected=kind),
            gradio.Tab(visible=task not in clips_only),
            kind,
            gradio.Slider(visible=has_threshold(scopes[task])),
        )

    def run(
        name: str,
        kind: str,
        image: dict[str, Any] | None,
        video: dict[str, Any] | None,
        threshold: float,
        progress: Any = gradio.Progress(),  # noqa: B008  gradio looks for it in the signature
    ) -> tuple[Any, Any, Any]:
        """Show a prediction, or an error message."""
        upload = image if kind == IMAGE else video
        if not upload:
            raise gradio.Error("Upload a file or choose an example first.", print_exception=False)
        path = str(upload["path"])
        try:
            progress(0, desc=f"{name}: loading, then predicting")
            delete_old(folder)
            result, data = models.predict(
                name,
                path,
                threshold,
                Path(tempfile.mkdtemp(dir=folder)),
                lambda count: progress((count, None), desc=f"{count} predictions", unit="frames"),
            )
        except UserError as error:
            message = str(error).replace(f"{Path(path).parent}{os.sep}", "")
            raise gradio.Error(printable(message), print_exception=False) from error
        is_image = result.suffix == ".png"
        return (
            gradio.Image(value=str(result) if is_image else None, visible=is_image),
            gradio.Video(value=None if is_image else str(result), visible=not is_image),
            data,
        )

    first = next(iter(tasks))
    first_kind = VIDEO if first in clips_only else IMAGE
    images, videos = examples(gradio)
    with gradio.Blocks(title="UniFormer", delete_cache=(CLEANUP_INTERVAL, KEPT)) as page:
        gradio.Markdown("# UniFormer")
        kind = gradio.State(first_kind)
        with gradio.Row():
            with gradio.Column():
                with gradio.Row():
                    task = gradio.Dropdown(list(tasks), value=first, label="Task", min_width=240)
                    name = gradio.Dropdown(
                        tasks[first], value=tasks[first][0], label="Model", min_width=240
                    )
                with gradio.Tabs(selected=first_kind) as tabs:
                    with gradio.Tab(IMAGE, id=IMAGE, visible=first_kind == IMAGE) as image_tab:
                        image = gradio.Image(
                            type="filepath", show_label=False, sources=["upload"], height=BOX_HEIGHT
                        )
                        gradio.Examples(images, image)
                    with gradio.Tab(VIDEO, id=VIDEO) as video_tab:
                        # gradio's Video refuses files that a browser cannot play.
                        video = gradio.File(
                            show_label=False, file_types=["video"], height=BOX_HEIGHT
                        )
                        gradio.Examples(videos, video)
                button = gradio.Button("Run", variant="primary")
                threshold = gradio.Slider(
                    0,
                    1,
                    0.3,
                    step=0.05,
                    label="Score threshold",
                    visible=has_threshold(scopes[first]),
                )
            with gradio.Column():
                image_result = gradio.Image(label="Result", interactive=False)
                video_result = gradio.Video(show_label=False, interactive=False, visible=False)
                data = gradio.JSON(label="Data")
        image_tab.select(lambda: IMAGE, None, kind)
        video_tab.select(lambda: VIDEO, None, kind)
        task.change(choose, [task, kind], [name, tabs, image_tab, kind, threshold])
        # gradio's preprocessing fails on files that are not images, and re-encodes others. Without
        # it, gradio still takes files from its upload folder only.
        inputs = [name, kind, image, video, threshold]
        button.click(run, inputs, [image_result, video_result, data], preprocess=False)
    return page


if __name__ == "__main__":
    run_tool(main)
