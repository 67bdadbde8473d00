"""What the HTML files have in common: a template, pictures inside of the file, complete or not there."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from musc_lite.utils.files import atomic_path

__all__ = ["THUMBNAIL", "data_uri", "filled_in", "inlined", "write_page"]

THUMBNAIL = 224  # pixels


def filled_in(template: str, package: str = "musc_lite.reports", **content: Any) -> bytes:
    """Fill in a template that lies in a package."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader(package, "."), autoescape=True)
    return environment.get_template(template).render(**content).encode(errors="backslashreplace")


def write_page(path: str | Path, template: str, **content: Any) -> Path:
    """Fill in a template of this folder and write it."""
    path = Path(path)
    with atomic_path(path) as partial:
        partial.write_bytes(filled_in(template, **content))
    return path


def inlined(*names: str) -> Markup:
    """Join scripts or styles of this folder as they are; a template would change braces."""
    return Markup("\n").join(Markup(Path(__file__).with_name(name).read_text(encoding="utf-8")) for name in names)


def data_uri(image: Image.Image) -> str:
    """Write a picture as an address that holds it."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
