#!/usr/bin/env python
"""Regenerate the tables of published models in README.md from the metafiles in configs/.

Example:
  tools/update_readme.py
"""

import argparse
import re
from pathlib import Path

from uniformer_mm.checkpoints.zoo import list_models, table

ROOT = Path(__file__).resolve().parent.parent


def fill(text: str) -> str:
    """The text with regenerated tables between `<!-- zoo: TASK -->` and `<!-- end -->`."""
    models = list_models(ROOT)

    def filled(match: re.Match[str]) -> str:
        rows = table([model for model in models if model.task == match[2]])
        return f"{match[1]}\n{rows}\n{match[3]}"

    return re.sub(r"(<!-- zoo: (\w+) -->)\n.*?(<!-- end -->)", filled, text, flags=re.DOTALL)


def main() -> None:
    """Rewrite the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text()))


if __name__ == "__main__":
    main()
