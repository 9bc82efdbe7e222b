#!/usr/bin/env python
"""Examine the installation: versions, machine, a self-check of about 10 seconds, and remedies.

Examples:
  tools/doctor.py
  tools/doctor.py > report.txt

The output is what a report of a fault should contain; it has no names of users or their folders.
Exit status: 0 if all is well, 1 if a check failed. Codebases that are not installed are no failure.
"""

import argparse
import faulthandler
import platform
import sys


def main() -> int:
    """Write the report; the exit status."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    # Where a compiled part ends the process, it says in which call.
    faulthandler.enable(2)
    try:
        from uniformer_mm.doctor.examination import examine
    except (ImportError, OSError, RuntimeError) as error:
        print(f"python {platform.python_version()} on {platform.platform(terse=True)}")
        print(f"uniformer_mm cannot be imported: {type(error).__name__}: {error}")
        missing = (getattr(error, "name", None) or "torch mmengine safetensors").partition(".")[0]
        print(f"remedy: pip install {missing}")
        return 1
    return 0 if examine(lambda text: print(text, end="", flush=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
