"""Files read in pieces are what json reads of them as a whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import share

from uniformer_mm.datasets.validation import json_stream
from uniformer_mm.datasets.validation.json_stream import stream_json

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)
ENTRIES = st.lists(st.dictionaries(st.sampled_from(["a", "}, {"]), VALUES, max_size=2))
FILES = st.dictionaries(
    st.sampled_from(["images", "annotations", "info", ""]), st.one_of(VALUES, ENTRIES)
)
LAYOUTS = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 2]),
        "separators": st.sampled_from([None, (",", ":"), (" , ", " : ")]),
        "ensure_ascii": st.booleans(),
    }
)


def joined(path):
    content = {}
    for name, value in stream_json(str(path), ("images", "annotations")):
        if name in ("images", "annotations") and isinstance(value, list):
            assert len(value) <= json_stream.BATCH_SIZE
            content.setdefault(name, []).extend(value)
        else:
            content[name] = value
    return content


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("stream") / "file.json"


@pytest.fixture(params=[(1, 1), (7, 5), (64, 16), (512, 16)], ids=str)
def characters(request, monkeypatch):
    """Characters that are read, and of a list that are decoded, at a time."""
    for name, value in zip(("CHARACTERS", "OBJECTS"), request.param, strict=True):
        monkeypatch.setattr(json_stream, name, value)
    monkeypatch.setattr(json_stream, "BATCH_SIZE", 2)


def test_sound_and_damaged_files(path, characters):
    @share(25)
    @given(FILES, LAYOUTS, st.data())
    def compare(content, layout, data):
        text = json.dumps(content, **layout)
        at = data.draw(st.integers(0, len(text) - 1))
        damage = data.draw(st.sampled_from(["", "", "{", "}", "[", "]", ",", ":", '"', " 1"]))
        cut = data.draw(st.sampled_from([0, 0, 1, 99])) if not damage else 0
        text = text[:at] + damage + text[at + cut :]
        path.write_text(text)
        repeated = []
        try:
            expected = json.loads(
                text,
                object_pairs_hook=lambda pairs: (
                    repeated.append(len(dict(pairs)) < len(pairs)) or dict(pairs)
                ),
            )
        except ValueError:
            expected = None
        if isinstance(expected, dict) and not any(repeated):
            assert joined(path) == expected
        elif not isinstance(expected, dict):
            with pytest.raises(ValueError, match="at character"):
                joined(path)

    compare()


def test_a_fault_far_into_a_file_is_where_it_says(path):
    path.write_text('{"images": [' + "1, " * 20 + "}")
    with pytest.raises(ValueError, match="at character 72"):
        joined(path)
