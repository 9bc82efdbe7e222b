#!/usr/bin/env python
"""Train a model of any OpenMMLab codebase from its config.

Examples:
  tools/train.py configs/det/mask_rcnn_uniformer_b.py
  tools/train.py configs/det/mask_rcnn_uniformer_s.py --synthetic
  tools/train.py configs/det/mask_rcnn_uniformer_s.py --coco IMAGES TRAIN.json VAL.json
  tools/train.py configs/det/mask_rcnn_uniformer_s.py --yolo FOLDER --val-share 0.2
  bash tools/dist_train.sh configs/det/mask_rcnn_uniformer_b.py 8
"""

import shlex
import time
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from uniformer_mm.apis.cli import CHECKPOINT_SOURCES, add_compile_argument, make_parser, run_tool
from uniformer_mm.apis.config import prepare_config
from uniformer_mm.apis.train import build_trainer, draw_samples, train
from uniformer_mm.tasks import task_of


def main() -> None:
    """Parse the command line, train, summarize, and on synthetic data draw predictions."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="PATH",
        help="resume exactly where a run was stopped or killed: from PATH, or ('auto', or without"
        " PATH) from the newest intact checkpoint in the working directory, if there is one",
    )
    parser.add_argument(
        "--load-from",
        metavar="CHECKPOINT",
        help=f"start from the weights of a checkpoint: {CHECKPOINT_SOURCES}",
    )
    parser.add_argument(
        "--new-heads",
        action="store_true",
        help="with --load-from: re-initialize heads whose number of classes differs",
    )
    parser.add_argument("--amp", action="store_true", help="train in mixed precision (GPU)")
    add_compile_argument(parser)
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate with the total batch size",
    )
    arguments = parser.parse_args()

    runner = build_trainer(prepare_config(arguments, ("train", "val")), arguments.new_heads)
    start = time.monotonic()
    train(runner)
    seconds = time.monotonic() - start
    pictures = Path(runner.work_dir, "pictures")
    if arguments.synthetic is not False:
        draw_samples(runner, pictures)
    if is_main_process():
        print(summary(runner, arguments.config, seconds, pictures))


def summary(runner: Runner, config: str, seconds: float, pictures: Path) -> str:
    """Scores, files, and the commands to go on with."""
    task = task_of(runner.cfg)
    scalars, info = runner.message_hub.log_scalars, runner.message_hub.runtime_info
    validated = [name[4:] for name in scalars if name.startswith("val/") and "time" not in name]
    names = [name for name in task.scores if name in validated] or validated
    last = Path(runner.work_dir, "last_checkpoint")
    checkpoints = {"checkpoint": last.read_text().strip()} if last.is_file() else {}
    if "best_ckpt" in info:
        checkpoints["best checkpoint"] = info["best_ckpt"]
    lines = [
        "",
        f"Trained {config} in {seconds / 60:.1f} min ({runner.iter} iterations, including"
        " evaluation).",
        *(f"  {name:15} {scalars[f'val/{name}'].current():.3f}" for name in names),
    ]
    if pictures.is_dir():
        lines.append(f"  visualizations  {pictures}  (ground truth left, prediction right)")
    lines.append(f"  log             {runner.log_dir}")
    lines += [f"  {name:15} {path}" for name, path in checkpoints.items()]
    if checkpoints:
        folder = Path(runner.work_dir)
        paths = folder / Path(config).name, [*checkpoints.values()][-1], folder / "shown"
        trained, checkpoint, shown = (shlex.quote(str(path)) for path in paths)
        lines += [
            "Next:",
            f"  tools/test.py {trained} {checkpoint} --show-dir {shown}",
            f"  tools/infer.py {trained} FILES --checkpoint {checkpoint}",
        ]
    if pictures.is_dir() and task.takes_coco_data:
        lines.append(
            f"  tools/train.py {shlex.quote(config)} --coco IMAGE_FOLDER TRAIN.json VAL.json"
            "   (your own data)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_tool(main)
