"""No two configs share eight lines in a row: what they have in common belongs in a base."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 8


def code_lines(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def duplicated_runs(paths):
    """Runs of `LENGTH` lines of code in more than one place, each with its places."""
    places = {}
    for path in paths:
        lines = code_lines(path)
        for start in range(len(lines) - LENGTH + 1):
            places.setdefault(tuple(lines[start : start + LENGTH]), []).append(path.name)
    return {run: names for run, names in places.items() if len(names) > 1}


def test_no_two_configs_share_eight_lines():
    paths = sorted(ROOT.glob("configs/**/*.py"))
    assert len(paths) > 100
    assert duplicated_runs(paths) == {}


def test_a_copy_is_found(tmp_path):
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("\n".join(f"# {name}\nvalue_{i} = {i}" for i in range(LENGTH)))
    ((_, names),) = duplicated_runs(sorted(tmp_path.glob("*.py"))).items()
    assert names == ["one.py", "two.py"]
