"""What pages have in common: templates, scripts and pictures inside of the file, complete or not there."""

import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from musc_lite.utils.files import atomic_write

THUMBNAIL = 224  # pixels


def template(name: str, package: str = "musc_lite.reports") -> jinja2.Template:
    """Load a template that lies in a package; `web(...)` in it is what `read_web` reads."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader(package, "."), autoescape=True)
    environment.globals["web"] = lambda *names: Markup(read_web(*names))
    return environment.get_template(name)


def filled_in(name: str, package: str = "musc_lite.reports", **content: Any) -> bytes:
    """Fill in a template that lies in a package."""
    return template(name, package).render(**content).encode(errors="backslashreplace")


def write_page(path: str | Path, name: str, **content: Any) -> Path:
    """Fill in a template of this folder and write it."""
    path = Path(path)
    with atomic_write(path) as partial:
        partial.write_bytes(filled_in(name, **content))
    return path


def read_web(*names: str) -> str:
    """Read scripts or styles of the package as they are; none may end the element that it is written into."""
    texts = [files("musc_lite").joinpath(name).read_text(encoding="utf-8") for name in names]
    return "\n".join(texts).replace("</script", r"<\/script")


def data_uri(picture: Image.Image | bytes) -> str:
    """Write a picture, or the bytes of a PNG file, as an address that holds it."""
    if isinstance(picture, bytes):
        return "data:image/png;base64," + base64.b64encode(picture).decode()
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
