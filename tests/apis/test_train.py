"""A config is made resumable in a copy."""

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
def test_the_config_in_the_working_directory_imports_what_it_names(given, imports):
    cfg = Config({"train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 3}, **given})
    before = cfg.to_dict()
    resumable = make_resumable(cfg)
    assert resumable.custom_imports.imports == imports
    again = make_resumable(resumable)  # as it comes from the working directory
    assert again.custom_imports.imports == imports
    assert cfg.to_dict() == before
