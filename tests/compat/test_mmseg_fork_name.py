"""mmengine finds mmseg under the name of its fork."""

from types import SimpleNamespace

import pytest

from uniformer_mm.compat import mmseg_fork_name

pytest.importorskip("mmseg")


@pytest.mark.parametrize(
    ("owners", "expected"),
    [(["mmsegmentation"], "mmsegmentation"), (["onedl-mmsegmentation"], "mmseg")],
)
def test_the_name_is_that_of_what_is_installed(owners, expected, monkeypatch):
    monkeypatch.setattr(mmseg_fork_name, "owners", lambda package: owners)
    module = SimpleNamespace(MODULE2PACKAGE={"mmseg": "mmsegmentation"})
    mmseg_fork_name.patch(module)
    assert {"mmseg": expected} == module.MODULE2PACKAGE
