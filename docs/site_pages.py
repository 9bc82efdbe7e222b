"""MkDocs hook: adds the model tables, which are next to the configs, to the site."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]

TABLE = re.compile(r"\]\(\.\./configs/(\w+)/README\.md")
"""Link from a page of this folder to a model table."""

SOURCE = re.compile(r"\[([^\]]+)\]\((?!https?://|#|[\w/-]+\.(?:md|png|jpg))[^)]+\)")
"""Link to any other file of the repository."""


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each table."""
    for path in sorted(ROOT.glob("configs/*/README.md")):
        page = f"models/{path.parent.name}.md"
        content = f"---\nhide: [toc]\n---\n{path.read_text()}"  # room for the tables
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to pages of the site; names of other files stay without a link."""
    if page.file.src_uri.startswith("models/"):
        parts = markdown.split("](../../docs/")
        return "](../".join(SOURCE.sub(r"`\1`", part) for part in parts)
    return SOURCE.sub(r"\1", TABLE.sub(r"](models/\1.md", markdown))
