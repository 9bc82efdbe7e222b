"""Links, files and configs that the documents name are there."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("configs/*/README.md")),
]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    for link in links:
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


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
            behind = words[words.index(tools[0]) :]
            for flag in (word for word in behind if word.startswith("--")):
                assert f'"{flag}"' in text, f"{page.name}: {line}"
