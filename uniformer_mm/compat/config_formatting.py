"""Saving a checkpoint formats the whole config again.

Defect: `Config.pretty_text` formats the config with yapf at every access, and mmengine's Runner
    puts it into every checkpoint. An interruption of yapf, such as the end of a data loader's
    process, becomes "SyntaxError: Failed to format the config file".
    https://github.com/open-mmlab/mmengine/pull/1647
Versions: mmengine <= 0.10.7, onedl-mmengine <= 0.10.12.
Shows as: 0.4 s in every save.
Repair: the last result of yapf is cached.
"""

from types import ModuleType
from typing import Any


class FormatOnce:
    """Wrap yapf's `FormatCode` and cache its last result."""

    def __init__(self, format_code: Any) -> None:
        self.format_code = format_code
        self.last: tuple[Any, Any] = (None, None)

    def __call__(self, text: str, **options: Any) -> Any:
        """Return the formatted text, and whether it differs."""
        if self.last[0] != (text, options):
            self.last = ((text, options), self.format_code(text, **options))
        return self.last[1]


def patch(module: ModuleType) -> None:
    """Let mmengine format a config once."""
    if not isinstance(getattr(module, "FormatCode", None), FormatOnce | None):
        module.FormatCode = FormatOnce(module.FormatCode)  # type: ignore[attr-defined]


# mmengine has a reference of its own to the function, its fork imports it when it is called.
PATCHES = {"mmengine.config.config": patch, "yapf.yapflib.yapf_api": patch}
