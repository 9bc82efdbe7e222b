#!/usr/bin/env python
"""Diagnose the installation: versions, machine, a self-check of about 10 seconds, and remedies.

Examples:
  tools/doctor.py
  tools/doctor.py > report.txt
  tools/doctor.py --enable-everywhere

Add the output to a bug report; it contains no names of users or their folders. Exit status: 1 if a
check failed, else 0. Codebases that are not installed are not failures.

--enable-everywhere repairs the OpenMMLab stack in every program of this environment, also in those
that do not import uniformer_mm (test.py of the codebases, SAHI ...), by two files in site-packages.
"""

import argparse
import faulthandler
import platform
import sys


def main() -> int:
    """Write the report; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument(
        "--enable-everywhere", action="store_true", help="repair the stack in every program"
    )
    switch.add_argument(
        "--disable-everywhere", action="store_true", help="undo --enable-everywhere"
    )
    arguments = parser.parse_args()
    if arguments.enable_everywhere or arguments.disable_everywhere:
        from uniformer_mm.apis.cli import run_tool

        run_tool(lambda: set_everywhere(arguments.enable_everywhere))
        return 0
    # If a compiled extension ends the process, its call is printed.
    faulthandler.enable(2)
    try:
        from uniformer_mm.doctor.report import examine
    except (ImportError, OSError, RuntimeError) as error:
        print(f"python {platform.python_version()} on {platform.platform(terse=True)}")
        print(f"uniformer_mm cannot be imported: {type(error).__name__}: {error}")
        missing = (getattr(error, "name", None) or "torch mmengine safetensors").partition(".")[0]
        print(f"remedy: pip install {missing}")
        return 1
    return 0 if examine(lambda text: print(text, end="", flush=True)) else 1


def set_everywhere(enable: bool) -> None:
    """Repair the stack in every program of this environment, or no longer."""
    from uniformer_mm.compat import everywhere

    (everywhere.enable if enable else everywhere.disable)()
    print(f"{'wrote' if enable else 'removed'} {' and '.join(map(str, everywhere.files()))}")


if __name__ == "__main__":
    sys.exit(main())
