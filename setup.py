"""Build steps that pyproject.toml cannot say: the OpenMMLab `.mim` folder.

OpenMMLab tools (`mim download`, `mim train`, the inferencers) look for a package's configs, tools
and model index under `<package>/.mim`. A wheel gets copies; an editable install gets links, so
that what is edited is what is found.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_CONTENT = ("configs", "tools", "model-index.yml")


class BuildPyWithMim(build_py):
    """The usual `build_py`, plus `uniformer_mm/.mim`."""

    def run(self):
        super().run()
        source_mim = ROOT / "uniformer_mm" / ".mim"
        if self.editable_mode:
            self._fill(source_mim, link=True)
        else:
            self._fill(Path(self.build_lib).resolve() / "uniformer_mm" / ".mim", link=False)

    def _fill(self, mim, *, link):
        mim.mkdir(parents=True, exist_ok=True)
        for name in MIM_CONTENT:
            source, target = ROOT / name, mim / name
            if target.is_symlink() or target.is_file():
                target.unlink()
            elif target.is_dir():
                shutil.rmtree(target)
            if link:
                try:
                    target.symlink_to(Path("..", "..", name), target_is_directory=source.is_dir())
                    continue
                except OSError:  # no right to make links (Windows): copy instead
                    pass
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)


setup(cmdclass={"build_py": BuildPyWithMim})
