"""`make book` shows each notebook with its figures, and reading the pages needs no network."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
STEMS = sorted(path.stem for path in NOTEBOOKS.glob("0*.ipynb"))

pytest.importorskip("myst_nb", reason="needs the extra 'book'")


class Addresses(HTMLParser):
    """Collect what a page loads when it is opened, and where its links lead."""

    def __init__(self, page):
        super().__init__()
        self.loaded, self.links = [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data") or (tag == "link" and name == "href"):
                self.loaded.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "book"
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", NOTEBOOKS, out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("stem", STEMS)
def test_page_shows_every_figure(book, stem):
    notebook = json.loads((NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    figures = {base64.b64decode("".join(o["data"]["image/png"])) for o in outputs if "image/png" in o.get("data", {})}
    page = book / f"{stem}.html"
    assert figures
    assert figures <= {(book / src).read_bytes() for src in Addresses(page).loaded if src.startswith("_images/")}


def test_front_page_leads_to_every_notebook_in_order(book):
    links = dict.fromkeys(Addresses(book / "index.html").links)  # in order, each once
    assert [link for link in links if re.match(r"0[^#]*$", link)] == [f"{stem}.html" for stem in STEMS]


def test_pages_load_nothing_from_the_network(book):
    remote = re.compile(r"(https?:)?//")
    for page in book.glob("*.html"):
        assert not [url for url in Addresses(page).loaded if remote.match(url)], page.name
    for text in [*book.glob("*.html"), *book.glob("_static/**/*.css")]:
        assert not re.search(r"""(url\(|@import )["']?(https?:)?//""", text.read_text(encoding="utf-8")), text.name


def test_no_link_is_dead(book):
    for page in book.glob("*.html"):
        addresses = Addresses(page)
        for url in addresses.loaded + addresses.links:
            path = re.split(r"[?#]", url)[0]
            assert re.match(r"\w+:", url) or (page.parent / path).exists(), f"{page.name}: {url}"
