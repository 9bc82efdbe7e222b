"""mmengine logs no warnings about its own code."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.evaluator import metric
from mmengine.fileio import FileClient, file_client

from uniformer_mm.compat.logged_warnings import MESSAGES, patch


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.mark.parametrize("module", [file_client, metric])
def test_the_known_messages_are_left_out(module: object) -> None:
    logger, log = logging.getLogger("trial"), Log()
    logger.addHandler(log)
    for message in (*MESSAGES, "a tensor is missing"):
        module.print_log(f"{message} ...", logger=logger, level=logging.WARNING)  # type: ignore[attr-defined]
    assert log.messages == ["a tensor is missing ..."]


def test_mmengine_still_uses_its_deprecated_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """The messages are those of mmengine."""
    logged: list[str] = []
    monkeypatch.setattr(FileClient, "_instances", {})
    monkeypatch.setattr(file_client, "print_log", lambda text, **_: logged.append(text))
    FileClient.infer_client(None, "/tmp")
    assert all(text.startswith(MESSAGES) for text in logged)
    assert len(logged) == 2


def test_patching_twice_changes_nothing() -> None:
    module = SimpleNamespace(print_log=print)
    patch(module)  # type: ignore[arg-type]
    once = module.print_log
    patch(module)  # type: ignore[arg-type]
    assert module.print_log is once
