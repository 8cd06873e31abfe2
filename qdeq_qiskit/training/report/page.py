"""Reports as pages: one look, templates beside the code, pictures inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from jinja2 import Environment

PIXELS_PER_INCH = 160


def page_templates(folder: Path) -> Environment:
    """Jinja's environment for the templates of a folder, which may include `page.css`."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(frozen=True)
class Picture:
    """A figure as an <img> shows it: `src` holds the picture itself, `width` is in CSS pixels."""

    src: str
    width: int


def embedded(figure: Figure) -> Picture:
    """A figure, drawn."""
    return embedded_png(png_of(figure), figure)


def embedded_png(picture: bytes, figure: Figure) -> Picture:
    """A figure that was drawn already."""
    source = "data:image/png;base64," + base64.b64encode(picture).decode()
    return Picture(source, round(96 * figure.get_figwidth()))


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH)
    return buffer.getvalue()
