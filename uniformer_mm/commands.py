"""The console commands (`uniformer-train` and so on): the scripts of `tools/`, from any folder."""

import runpy
from functools import partial

from uniformer_mm.checkpoints.zoo import MIM


def _run(tool: str) -> None:
    runpy.run_path(str(MIM / "tools" / f"{tool}.py"), run_name="__main__")


train = partial(_run, "train")
test = partial(_run, "test")
infer = partial(_run, "infer")
export = partial(_run, "export")
doctor = partial(_run, "doctor")
