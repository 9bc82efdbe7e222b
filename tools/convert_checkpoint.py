#!/usr/bin/env python
"""Convert a checkpoint between the official code and OpenMMLab 2.x.

The result has no optimizer state, and its SHA-256 in its name. Converted to OpenMMLab, it also has
the names of its classes, so that the codebases' own tools and inferencers load it as it is.

Examples:
  tools/convert_checkpoint.py configs/seg/upernet_uniformer_s_global.py upernet_global_small.pth
  tools/convert_checkpoint.py configs/cls/uniformer_s_in1k.py uniformer_s_in1k --out-dir converted
  tools/convert_checkpoint.py configs/det/mask_rcnn_uniformer_s.py epoch_12.pth --to official
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

from uniformer_mm.apis.cli import run_tool
from uniformer_mm.apis.config import load_config, override
from uniformer_mm.apis.convert import to_official, to_openmmlab


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file or name of the model in the zoo")
    parser.add_argument(
        "checkpoint",
        help="file, URL, hf://OWNER/REPOSITORY[@REVISION]/FILE, or name of a model of the zoo",
    )
    parser.add_argument(
        "--to",
        choices=["openmmlab", "official"],
        default="openmmlab",
        help="target format (openmmlab)",
    )
    parser.add_argument("--out-dir", type=Path, default=Path("."), help="folder of the result (.)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="options of the config to override, e.g. model.head.num_classes=2",
    )
    parser.add_argument(
        "--safetensors",
        action="store_true",
        help="write .safetensors, which only the tools of this package read, instead of .pth",
    )
    arguments = parser.parse_args()
    if arguments.safetensors and arguments.to == "official":
        parser.error("the official code reads no .safetensors")
    cfg = load_config(arguments.config)
    override(cfg, arguments.cfg_options)
    if arguments.to == "official":
        path, report = to_official(cfg, arguments.checkpoint, arguments.out_dir)
    else:
        suffix = ".safetensors" if arguments.safetensors else ".pth"
        path, report = to_openmmlab(cfg, arguments.checkpoint, arguments.out_dir, suffix)
    print(f"{report}\nthe converted checkpoint is {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    run_tool(main)
