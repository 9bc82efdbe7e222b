"""Save checkpoints so that a killed process or a full disk never loses the last one."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from uniformer_mm.writing import ATOMIC, delete_abandoned, write_whole

EXTRA = "extra_checkpoint"
"""Where the message hub keeps the path of a checkpoint between the regular ones."""


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook with atomic writes.

    mmengine writes checkpoints and `last_checkpoint` in place, and deletes outdated ones before it
    writes: a run with `max_keep_ckpts=1` that is killed at that time loses everything. Here files
    are written under a temporary name, renamed when they are on the disk, and only then outdated
    ones are deleted.

    Args:
        **settings: As for CheckpointHook.

    Raises:
        UserError: When a checkpoint cannot be written.
    """

    backend_args: dict[str, Any] | None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.backend_args is None and "://" not in str(self.out_dir):
            self.backend_args = {"backend": ATOMIC}
        self.saved_iteration: int | None = None
        """Iteration of the newest checkpoint."""

    def before_train(self, runner: Runner) -> None:
        """Delete temporary files of killed processes."""
        super().before_train(runner)
        if is_main_process():
            delete_abandoned(Path(self.out_dir))

    def save_now(self, runner: Runner, iterations: int) -> str:
        """Save the current state between two regular checkpoints, unless it is saved already.

        It is deleted after the next regular one is written.

        Args:
            runner: The runner.
            iterations: Number of finished iterations.

        Returns:
            Path of the checkpoint.
        """
        if self.saved_iteration != iterations:
            outdated = runner.message_hub.pop_info(EXTRA)
            name = f"iter_{iterations}.pth"
            runner.message_hub.update_info(EXTRA, self.file_backend.join_path(self.out_dir, name))
            self._save(runner, name, {"epoch": runner.epoch, "iter": iterations})
            self._remove(outdated)
        return str(self.last_ckpt)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, int]) -> None:
        outdated = [runner.message_hub.pop_info(EXTRA)]
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                name = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                outdated.append(self.file_backend.join_path(self.out_dir, name))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        self._save(runner, self.filename_tmpl.format(step), meta)
        for path in outdated:
            self._remove(path)

    def _save(self, runner: Runner, name: str, meta: dict[str, int]) -> None:
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.saved_iteration = meta["iter"]
        if is_main_process():
            write_whole(Path(runner.work_dir, "last_checkpoint"), str(self.last_ckpt).encode())

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Let mmengine delete the previous best one after it has written the new one."""
        outdated: list[str] = []
        remove, self.file_backend.remove = self.file_backend.remove, outdated.append
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend.remove = remove
        for path in outdated:
            self._remove(path)

    def _remove(self, path: str | None) -> None:
        """Delete a checkpoint: a file, or a folder of sharded ones."""
        if path is None or not is_main_process():
            return
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):
            self.file_backend.rmtree(path)
