"""Facts about published files are those of their configs."""

import re

import pytest

from uniformer_mm.checkpoints.published import OTHER_FACTS, known_files, published_facts
from uniformer_mm.checkpoints.sources import known_hash
from uniformer_mm.models.archs import ARCHS, LIGHT_ARCHS
from uniformer_mm.zoo import MIM, list_models

HASHED = [model for model in list_models() if model.weights and known_hash(model.weights)]


@pytest.mark.parametrize("model", HASHED, ids=lambda model: model.name)
def test_every_published_file_has_the_head_dim_of_its_config(model):
    text = (MIM / model.config).read_text()
    said = re.search(r"head_dim=(\d+)", text)
    arch = re.search(r'arch="(\w+)"', text)
    default = "xxs" if model.backbone.startswith("XXS") else "small"
    expected = {**ARCHS, **LIGHT_ARCHS}[arch[1] if arch else default].get("head_dim", 64)
    digest = known_hash(model.weights)
    facts = next(facts for known, facts in known_files().items() if digest.startswith(known))
    assert facts.head_dim == (int(said[1]) if said else expected)
    assert facts.alphabetical == ("mmaction" in model.weights)


def test_files_that_are_not_in_the_zoo_are_known_too():
    assert len(HASHED) > 20
    assert known_files().keys() > OTHER_FACTS.keys()


def test_what_is_not_there_or_not_published_is_not_known(tmp_path):
    assert published_facts(tmp_path / "absent.pth") is None
    (tmp_path / "uniformer_small_in1k.pth").write_bytes(b"mine")
    assert published_facts(tmp_path / "uniformer_small_in1k.pth") is None
