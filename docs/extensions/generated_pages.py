"""Pages that are made when the site is built: tutorials from notebooks, references from the package itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api_pages import api_pages
from command_reference import command_page
from recipe_reference import recipe_pages
from tutorials import to_site, tutorial_pages


def setup(app: Any) -> dict[str, Any]:
    """Write the pages before any is read."""
    app.connect("config-inited", _write)
    app.connect("source-read", _relink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: Any, config: Any) -> None:
    docs = Path(app.srcdir)
    _fill(docs / "tutorials", tutorial_pages(docs.parent / "notebooks"), suffix="ipynb")
    _fill(docs / "reference" / "api", api_pages(), suffix="rst")
    _fill(docs / "reference" / "recipes", recipe_pages(), suffix="md")
    _fill(docs / "reference" / "command", {"qdeq.md": command_page()}, suffix="md")


def _fill(folder: Path, pages: dict[str, str], *, suffix: str) -> None:
    """Write what has changed, and take away what is not made any more."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob(f"*.{suffix}"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _relink(app: Any, name: str, source: list[str]) -> None:
    source[0] = to_site(source[0])
