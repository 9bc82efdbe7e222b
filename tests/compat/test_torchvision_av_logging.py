"""torchvision leaves the log of PyAV off."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import av
import av.logging
import pytest
import torchvision  # noqa: F401

from uniformer_mm.compat.torchvision_av_logging import patch


@pytest.fixture
def level() -> Iterator[None]:
    before = av.logging.get_level()
    yield
    av.logging.set_level(before)


def test_the_log_is_off_after_the_import() -> None:
    assert av.logging.get_level() is None


@pytest.mark.usefixtures("level")
def test_the_level_that_torchvision_sets_is_undone() -> None:
    av.logging.set_level(av.logging.ERROR)
    module: Any = SimpleNamespace(av=av)
    patch(module)
    assert av.logging.get_level() is None


@pytest.mark.parametrize("module", [SimpleNamespace(), SimpleNamespace(av=ImportError("no PyAV"))])
def test_without_pyav_nothing_is_done(module: Any) -> None:
    patch(module)
