"""A config is formatted once, not at every save."""

from mmengine.config import Config
from mmengine.config import config as module

from uniformer_mm.compat.config_formatting import FormatOnce


def test_a_config_is_formatted_again_only_if_it_has_changed(monkeypatch):
    calls = []
    yapf = module.FormatCode.format_code

    def format_code(text, **options):
        calls.append(text)
        return yapf(text, **options)

    monkeypatch.setattr(module, "FormatCode", FormatOnce(format_code))
    cfg = Config({"model": {"type": "A", "widths": [1, 2, 3]}})
    first = cfg.pretty_text
    assert cfg.pretty_text == first
    assert len(calls) == 1
    cfg.model.type = "B"
    assert cfg.pretty_text == first.replace("A", "B")
    assert len(calls) == 2
    monkeypatch.setattr(module, "FormatCode", yapf)
    assert cfg.pretty_text == first.replace("A", "B"), "as mmengine alone has it"
