#!/usr/bin/env python
"""Diagnose the installation: versions, machine, a self-check of about 10 seconds, and remedies.

Examples:
  tools/doctor.py
  tools/doctor.py > report.txt

Add the output to a bug report; it contains no names of users or their folders. Exit status: 1 if a
check failed, else 0. Codebases that are not installed are not failures.
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


if __name__ == "__main__":
    sys.exit(main())
