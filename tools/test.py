#!/usr/bin/env python
"""Evaluate a checkpoint of any OpenMMLab codebase with its config.

Examples:
  tools/test.py configs/det/mask_rcnn_uniformer_b.py CHECKPOINT
  tools/test.py configs/det/mask_rcnn_uniformer_b.py CHECKPOINT --show-dir shown --tta
  bash tools/dist_test.sh configs/det/mask_rcnn_uniformer_b.py CHECKPOINT 8
"""

import json
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.registry import METRICS, DefaultScope

from uniformer_mm.apis.cli import (
    CHECKPOINT_SOURCES,
    add_attention_arguments,
    add_compile_argument,
    add_dtype_argument,
    add_fuse_argument,
    make_parser,
    run_tool,
)
from uniformer_mm.apis.config import own_data, prepare_config
from uniformer_mm.apis.inference import check_dtype, find_device
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.apis.memory import keep_freed_memory
from uniformer_mm.apis.test import comparison_table, published_rows
from uniformer_mm.errors import UserError


def main() -> None:
    """Parse the command line and run the test loop."""
    parser = make_parser(__doc__)
    parser.add_argument("checkpoint", help=CHECKPOINT_SOURCES)
    parser.add_argument("--out", metavar="FILE.pkl", help="save the predictions")
    parser.add_argument("--scores", metavar="FILE.json", type=Path, help="save the scores")
    parser.add_argument(
        "--show-dir", type=Path, help="save visualizations of predictions and ground truth"
    )
    parser.add_argument("--show", action="store_true", help="show them in a window")
    parser.add_argument(
        "--wait-time", type=float, default=2.0, help="seconds per window (default: 2)"
    )
    parser.add_argument("--tta", action="store_true", help="test-time augmentation")
    add_attention_arguments(parser)
    add_fuse_argument(parser)
    add_dtype_argument(parser)
    add_compile_argument(parser)
    arguments = parser.parse_args()
    keep_freed_memory()
    check_dtype(arguments.dtype, find_device("auto"))
    if arguments.out and not arguments.out.endswith((".pkl", ".pickle")):
        raise UserError(f"--out must name a .pkl file, got {arguments.out}")

    cfg = prepare_config(arguments, splits=("test",))
    # Without a file name, so that this config does not replace that of a training in its folder.
    runner = build_runner(Config(cfg.to_dict()), exact_checkpoint=True)
    if arguments.out:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            dump = METRICS.get("DumpDetResults") or DumpResults
        runner.test_evaluator.metrics.append(dump(out_file_path=arguments.out))
    scores = runner.test()
    benchmark = arguments.synthetic is False and not own_data(arguments)
    rows = published_rows(cfg, scores, arguments.tta) if benchmark else []
    if is_main_process():
        if rows:
            print(f"\nPublished scores of {arguments.config}:\n{comparison_table(rows)}")
        if arguments.scores:
            arguments.scores.parent.mkdir(parents=True, exist_ok=True)
            measured = {"scores": scores, "beside_published": rows}
            arguments.scores.write_text(json.dumps(measured, indent=2, default=float))


if __name__ == "__main__":
    run_tool(main)
