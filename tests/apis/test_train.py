"""What a config gets so that its training can be resumed."""

import pytest
from mmengine.config import Config

from uniformer_mm.apis.train import make_resumable

OURS = ["uniformer_mm", "uniformer_mm.engine.loops", "uniformer_mm.engine.hooks.safe_checkpoint"]


@pytest.mark.parametrize(
    ("given", "imports"),
    [
        ({}, OURS),
        ({"custom_imports": None}, OURS),
        ({"custom_imports": {"imports": "mine"}}, ["mine", *OURS]),
        ({"custom_imports": {"imports": None}}, OURS),
        (
            {"custom_imports": {"imports": ["uniformer_mm.engine.loops"]}},
            [OURS[1], OURS[0], OURS[2]],
        ),
    ],
)
def test_what_the_config_left_behind_names_can_be_imported(given, imports):
    cfg = Config({"train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 3}, **given})
    make_resumable(cfg)
    assert cfg.custom_imports.imports == imports
    make_resumable(cfg)  # as it comes from the working directory
    assert cfg.custom_imports.imports == imports
