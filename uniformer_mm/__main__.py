"""Run a program of the OpenMMLab stack with the stack repaired.

    python -m uniformer_mm SCRIPT [ARGUMENTS]
    python -m uniformer_mm -m MODULE [ARGUMENTS]

It works like ``python SCRIPT``, after `import uniformer_mm`: for programs that import mmdet and the
like before they read a config with ``custom_imports``.
"""

import runpy
import sys
from pathlib import Path

import uniformer_mm  # noqa: F401


def main() -> None:
    """Run the script or module that the command line names."""
    arguments = sys.argv[1:]
    is_module = arguments[:1] == ["-m"]
    target = arguments[is_module] if len(arguments) > is_module else "--help"
    if target in ("-h", "--help"):
        print(__doc__)
        return
    if not is_module and not Path(target).is_file():
        sys.exit(f"error: no script {target}")
    sys.argv = arguments[is_module:]
    sys.path[0] = "" if is_module else str(Path(target).resolve().parent)
    if is_module:
        runpy.run_module(target, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(target, run_name="__main__")


if __name__ == "__main__":
    main()
