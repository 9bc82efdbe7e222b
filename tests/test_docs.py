"""Links, files and options that the documentation names exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from uniformer_mm.datasets.conversion.coco_files import FORMATS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("configs/*/README.md")),
]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_have_targets(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text):
        if not link.startswith(("http://", "https://")):
            target = page.parent / link if link else page
            assert target.exists(), f"{page.name} links to {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}#{anchor}"


def test_the_site_has_every_page():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = set(re.findall(r"'([\w/]+\.md)'", str(site["nav"])))
    tables = {f"models/{page.parent.name}.md" for page in ROOT.glob("configs/*/README.md")}
    assert named == {page.name for page in ROOT.glob("docs/*.md")} | tables


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_tools_and_configs_in_commands_exist(page):
    named = re.findall(r"(?<![\w/.$])((?:tools|configs)/[\w./-]+\.(?:py|sh))", page.read_text())
    for name in named:
        assert (ROOT / name).is_file(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_flags_in_commands_exist(page):
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    for line in lines:
        words = shlex.split(line, comments=True)
        tools = [word for word in words if re.fullmatch(r"tools/\w+\.py", word)]
        if tools:
            sources = [ROOT / tools[0], *(ROOT / "uniformer_mm" / "apis").glob("*.py")]
            text = "".join(source.read_text() for source in sources)
            text += "".join(f'"--{name}"' for name in FORMATS)
            options = words[words.index(tools[0]) :]
            for flag in (word for word in options if word.startswith("--")):
                assert f'"{flag}"' in text, f"{page.name}: {line}"
