"""The metafiles and the tables made of them."""

import runpy
from pathlib import Path

from uniformer_mm.zoo import list_models, table

ROOT = Path(__file__).resolve().parents[1]


def test_installed_and_checked_out_models_are_the_same():
    assert list_models() == list_models(ROOT)


def test_a_table_leaves_out_what_is_the_same_for_all():
    models = [model for model in list_models(ROOT) if model.task == "det"]
    head, _, first, *_ = table(models).splitlines()
    assert head == (
        "| config | backbone | schedule | box AP | mask AP | parameters | multiply-adds |"
        " of an input |"
    )
    assert first == (
        "| [mask_rcnn_uniformer_s](configs/det/mask_rcnn_uniformer_s.py) | S, h14 | 1x | 45.6"
        " | 41.6 | 41.2 M | 269 G | 800 x 1280 |"
    )


def test_the_tables_of_the_readme_are_up_to_date():
    fill = runpy.run_path(str(ROOT / "tools" / "update_readme.py"))["fill"]
    text = (ROOT / "README.md").read_text()
    assert fill(text) == text
    assert text.count("<!-- zoo: ") == len({model.task for model in list_models(ROOT)})
