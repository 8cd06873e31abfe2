"""The notebooks of the repository as pages of the site: taken when it is built, with links that fit there."""

from __future__ import annotations

import json
import re
from pathlib import Path


def tutorial_pages(notebooks: Path) -> dict[str, str]:
    """The notebooks by their file names, with links between repository folders turned into links between pages."""
    return {path.name: _relinked(path) for path in sorted(notebooks.glob("*.ipynb"))}


def _relinked(path: Path) -> str:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"\]\(\.\./docs/", "](../", "".join(cell["source"]))
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def to_site(text: str) -> str:
    """A page's links to notebooks as links to the tutorials that they become."""
    return re.sub(r"\]\((\.\./)+notebooks/", lambda found: f"]({'../' * (found[0].count('../') - 1)}tutorials/", text)
