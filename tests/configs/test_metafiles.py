"""Metafiles agree with the configs, the built models and the tables in `configs`."""

import re
import runpy

import describing
import pytest
from modelindex.load_model_index import load
from zoo_configs import CONFIGS, ROOT, ZOO, build, read

from uniformer_mm.checkpoints.zoo import list_models


def test_metafiles_list_exactly_the_configs():
    assert sorted(ZOO) == CONFIGS
    assert all(config == f"configs/{m.task}/{m.name}.py" for config, m in ZOO.items())


@pytest.mark.stack
@pytest.mark.parametrize("config", CONFIGS)
def test_entry_describes_the_config_and_the_model(config):
    entry = ZOO[config]
    cfg = read(entry.task, entry.name)
    model = build(cfg)
    assert sum(p.numel() for p in model.parameters()) == entry.parameters
    assert cfg.auto_scale_lr.base_batch_size == entry.batch_size
    assert describing.data(cfg) == entry.data
    assert describing.backbone(cfg, model, entry.task) == entry.backbone
    assert describing.schedule(cfg, entry.task) == entry.schedule
    assert entry.flops_input in (None, describing.flops_input(cfg, entry.task))
    assert set(entry.metrics) <= describing.metrics(cfg, entry.task)


def test_index_is_in_the_format_of_openmmlab():
    index = load(str(ROOT / "model-index.yml"))
    assert not index.check_errors
    assert [model.name for model in index.models] == [model.name for model in list_models(ROOT)]
    assert {model.in_collection for model in index.models} == {c.name for c in index.collections}


def test_installed_and_checked_out_models_are_the_same():
    assert list_models() == list_models(ROOT)


def test_sizes_and_hashes_of_files_are_plausible():
    files = {}
    for model in ZOO.values():
        assert model.weights or not (model.weights_size or model.weights_sha256), model.name
        if model.weights:
            facts = (model.weights_size, model.weights_sha256, model.parameters)
            assert files.setdefault(model.weights, facts) == facts, "the same file"
    for url, (size, sha256, parameters) in files.items():
        assert re.fullmatch(r"https://\S+\.pth", url)
        assert sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256)
        # Four bytes each, buffers, names, and maybe the log of the training.
        assert size is None or 0 < size - 4 * parameters < 0.01 * size, url


def test_configs_start_from_files_of_the_zoo():
    """One file for each purpose: the hash of the zoo is checked for all."""
    text = "".join(path.read_text() for path in (ROOT / "configs" / "_base_").glob("*weights*.py"))
    urls = re.findall(r"https://\S+\.pth", text.replace('"\n    "', ""))
    assert set() < set(urls) <= {model.weights for model in ZOO.values()}


def test_tables_of_the_pages_are_up_to_date():
    tool = runpy.run_path(str(ROOT / "tools" / "update_readme.py"))
    assert len(tool["PAGES"]) == len({model.task for model in ZOO.values()})
    for page in tool["PAGES"]:
        text = page.read_text()
        assert tool["fill"](text) == text
        assert text.count("<!-- zoo: ") == 1


def test_the_first_page_counts_the_models():
    published = sum(bool(model.metrics) for model in ZOO.values())
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"**{len(ZOO)} configs**: all {published} published models" in readme
    assert f" {len(ZOO) - published} recipes without published results" in readme
    page = (ROOT / "docs" / "model_zoo.md").read_text()
    assert f"{published} of the {len(ZOO)} configs reproduce" in page
