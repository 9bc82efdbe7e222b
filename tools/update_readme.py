#!/usr/bin/env python
"""Write the tables of published models into configs/*/README.md, from the metafiles there.

Example:
  tools/update_readme.py
"""

import argparse
import re
from pathlib import Path

from uniformer_mm.checkpoints.zoo import list_models, table

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(ROOT.glob("configs/*/README.md"))


def fill(text: str) -> str:
    """Regenerate the tables between `<!-- zoo: TASK -->` and `<!-- end -->`."""
    models = list_models(ROOT)

    def filled(match: re.Match[str]) -> str:
        rows = table([model for model in models if model.task == match[2]])
        return f"{match[1]}\n{rows}\n{match[3]}"

    return re.sub(r"(<!-- zoo: (\w+) -->)\n.*?(<!-- end -->)", filled, text, flags=re.DOTALL)


def main() -> None:
    """Rewrite the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    for page in PAGES:
        page.write_text(fill(page.read_text()))


if __name__ == "__main__":
    main()
