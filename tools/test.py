#!/usr/bin/env python
"""Evaluate a checkpoint of any OpenMMLab codebase with its config.

Examples:
  tools/test.py configs/det/mask_rcnn_uniformer_b.py CHECKPOINT
  tools/test.py configs/det/mask_rcnn_uniformer_b.py CHECKPOINT --show-dir pictures --tta
  bash tools/dist_test.sh configs/det/mask_rcnn_uniformer_b.py CHECKPOINT 8
"""

import json
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.registry import METRICS, DefaultScope

from uniformer_mm.apis import launch
from uniformer_mm.apis.cli import add_compile_argument, make_parser, prepare_config, run_tool
from uniformer_mm.apis.comparing import beside_published, comparison
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.checkpoints import locate
from uniformer_mm.errors import UserError
from uniformer_mm.tasks import task_of


def main() -> None:
    """Parse the command line and run the test loop."""
    parser = make_parser(__doc__)
    parser.add_argument("checkpoint", help="file, URL, hf://OWNER/REPOSITORY/FILE, or zoo name")
    parser.add_argument("--out", metavar="FILE.pkl", help="save the predictions")
    parser.add_argument("--scores", metavar="FILE.json", type=Path, help="save the scores")
    parser.add_argument("--show-dir", type=Path, help="save pictures of predictions and truth")
    parser.add_argument("--show", action="store_true", help="show them in a window")
    parser.add_argument("--wait-time", type=float, default=2.0, help="seconds per window (2)")
    parser.add_argument("--tta", action="store_true", help="test-time augmentation")
    parser.add_argument("--fuse", action="store_true", help="fold what can be folded: quicker")
    add_compile_argument(parser)
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.out and not arguments.out.endswith((".pkl", ".pickle")):
        raise UserError(f"--out must name a .pkl file, got {arguments.out}")

    cfg = prepare_config(arguments, splits=("test",))
    cfg.load_from = str(locate(arguments.checkpoint))
    if arguments.show or arguments.show_dir:
        task_of(cfg).draw_predictions(cfg, arguments.show_dir, arguments.show)
        cfg.default_hooks.visualization.wait_time = arguments.wait_time
    if arguments.tta:
        task_of(cfg).use_test_time_augmentation(cfg)

    if arguments.fuse:
        launch.add_hook(cfg, "FuseHook")
    if arguments.compile:
        launch.add_hook(cfg, "CompileHook")

    # Without a name, or what is only for this test would replace the config of the training.
    runner = launch.build_runner(Config(cfg.to_dict()), exact_checkpoint=True)
    if arguments.out:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            dump = METRICS.get("DumpDetResults") or DumpResults
        runner.test_evaluator.metrics.append(dump(out_file_path=arguments.out))
    scores = runner.test()
    benchmark = arguments.synthetic is False and not arguments.coco
    rows = beside_published(cfg, scores, arguments.tta) if benchmark else []
    if is_main_process():
        if rows:
            print(f"\nBeside the authors' figures for {arguments.config}:\n{comparison(rows)}")
        if arguments.scores:
            arguments.scores.parent.mkdir(parents=True, exist_ok=True)
            measured = {"scores": scores, "beside_published": rows}
            arguments.scores.write_text(json.dumps(measured, indent=2, default=float))


if __name__ == "__main__":
    run_tool(main)
