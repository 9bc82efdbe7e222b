"""`tools/dist_train.sh` as on two machines: a worker that is killed is restarted and resumes.

Both machines are this one, with a process each.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from running import ROOT
from small_models import DETECTOR

pytestmark = [pytest.mark.slow, pytest.mark.stack]

KILL_ONCE = """
import os, signal
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class KillOnce(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        marker = Path("was_killed")
        if runner.iter == 2 and os.environ["RANK"] == "1" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""

CONFIG = f"""{DETECTOR}
custom_imports = dict(imports=["kill_once"])
custom_hooks = [dict(type="mmengine.KillOnce")]
"""

OPTIONS = (
    *("train_cfg.max_iters=4", "train_cfg.val_interval=4", "default_hooks.checkpoint.interval=1"),
    *("default_hooks.logger.interval=1", "randomness.seed=3", "model.test_cfg.rcnn.max_per_img=5"),
    *("train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"),
)


def start(folder: Path, log: str, work_dir: str, processes: int, **variables: str) -> Any:
    """Run the script of a machine; all have the folder."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", ROOT / "tools" / "dist_train.sh", "detector.py", str(processes)]
    options = ["--synthetic", "8", "--resume", "auto", "--work-dir", work_dir]
    with (folder / log).open("w") as file:
        return subprocess.Popen(
            [*command, *options, "--cfg-options", *OPTIONS],
            cwd=folder,
            env={**os.environ, "PATH": search, "PYTHONPATH": str(folder), **variables},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def final(folder: Path, work_dir: str, output: str) -> tuple[dict[str, torch.Tensor], str]:
    """Weights after the last iteration, and the line of its scores."""
    state = torch.load(folder / work_dir / "iter_4.pth", weights_only=True)["state_dict"]
    (line,) = [line for line in output.splitlines() if "coco/bbox_mAP: " in line]
    return state, line[line.index("coco/") : line.index("data_time")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts on gloo")
def test_a_killed_worker_is_restarted_and_ends_as_if_undisturbed(
    synthetic_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "detector.py").write_text(CONFIG)
    (tmp_path / "kill_once.py").write_text(KILL_ONCE)
    (tmp_path / "data").symlink_to(synthetic_folder / "data")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    machine = {
        "NNODES": "2",
        "MASTER_ADDR": "127.0.0.1",
        "PORT": port,
        "TORCHRUN_ARGS": "--max-restarts=1 --local-addr=127.0.0.1",
    }
    logs = ["first.log", "second.log"]
    agents = [start(tmp_path, log, "killed", 1, **machine) for log in logs]
    statuses = [agent.wait(900) for agent in agents]
    output = "".join((tmp_path / log).read_text() for log in logs)
    assert statuses == [0, 0], output[-5000:]
    assert (tmp_path / "was_killed").exists()
    assert "exitcode: -9" in output
    assert re.search(r"resumed epoch: 0, iter: [12]\b", output)
    state, scores = final(tmp_path, "killed", output)

    status = start(tmp_path, "log", "undisturbed", 2).wait(900)
    output = (tmp_path / "log").read_text()
    assert status == 0, output[-5000:]
    assert "resumed" not in output
    expected, expected_scores = final(tmp_path, "undisturbed", output)
    assert scores == expected_scores
    torch.testing.assert_close(state, expected, rtol=0, atol=1e-6)
