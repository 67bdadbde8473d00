"""`make book` shows each notebook with its figures, and reading the pages needs no network."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import musc_lite

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
STEMS = sorted(path.stem for path in NOTEBOOKS.glob("0*.ipynb"))
BESIDE = ["maps_of_another_method", "final_project_solution"]  # the course

pytest.importorskip("myst_nb", reason="needs the extra 'book'")


class Addresses(HTMLParser):
    """Collect what a page loads when it is opened, where its links lead, and the names that it documents."""

    def __init__(self, page):
        super().__init__()
        self.loaded, self.links, self.ids = [], [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data") or (tag == "link" and name == "href"):
                self.loaded.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)
            elif tag == "dt" and name == "id":
                self.ids.append(value)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "book"
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", NOTEBOOKS, out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def pages(book):
    return [*book.glob("*.html"), *book.glob("reference/*.html"), *book.glob("teaching/*.html")]


@pytest.mark.parametrize("stem", [*STEMS, *BESIDE])
def test_page_shows_every_figure(book, stem):
    notebook = json.loads((NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    figures = {
        base64.b64decode("".join(data[kind]))
        for data in (output.get("data", {}) for output in outputs)
        for kind in {"image/png", "image/jpeg"} & set(data)
    }
    page = book / f"{stem}.html"
    assert figures
    assert figures <= {(book / src).read_bytes() for src in Addresses(page).loaded if src.startswith("_images/")}


def test_front_page_leads_to_every_notebook_in_order(book):
    links = dict.fromkeys(Addresses(book / "index.html").links)  # in order, each once
    assert [link for link in links if re.match(r"0[^#]*$", link)] == [f"{stem}.html" for stem in STEMS]
    assert {f"{stem}.html" for stem in BESIDE} <= set(links)


def test_pages_load_nothing_from_the_network(book):
    remote = re.compile(r"(https?:)?//")
    for page in pages(book):
        assert not [url for url in Addresses(page).loaded if remote.match(url)], page.name
    for text in [*pages(book), *book.glob("_static/**/*.css")]:
        assert not re.search(r"""(url\(|@import )["']?(https?:)?//""", text.read_text(encoding="utf-8")), text.name


def test_no_link_is_dead(book):
    for page in pages(book):
        addresses = Addresses(page)
        for url in addresses.loaded + addresses.links:
            path = re.split(r"[?#]", url)[0]
            assert re.match(r"\w+:", url) or (page.parent / path).exists(), f"{page.name}: {url}"


def test_reference_documents_every_public_name_once(book):
    documented = [name for page in sorted(book.glob("reference/*.html")) for name in Addresses(page).ids]
    public = [f"musc_lite.{name}" for name in musc_lite.__all__ if name not in ("reports", "results", "widgets")]
    public += [f"musc_lite.widgets.{name}" for name in musc_lite.widgets.__all__]
    assert {name: documented.count(name) for name in public} == dict.fromkeys(public, 1)
    assert len(documented) == len(set(documented))
    assert "musc_lite.Detector.score_images" in documented


def test_reference_is_reached_from_the_front_page(book):
    assert "reference/index.html" in Addresses(book / "index.html").links
    groups = {page.name for page in book.glob("reference/*.html")} - {"index.html"}
    assert groups <= set(Addresses(book / "reference" / "index.html").links)


def test_reference_shows_parameters_as_a_list_with_types(book):
    page = (book / "reference" / "detector.html").read_text(encoding="utf-8")
    interval = page.index('<dt><strong>interval</strong><span class="classifier">(float, float)</span></dt>')
    assert "Share of the closest images" in page[interval : interval + 300]
    assert 'href="backbones.html#musc_lite.load_backbone"' in page  # `load_backbone` in a docstring is a link
    explorers = re.sub("<[^>]+>", "", (book / "reference" / "explorers.html").read_text(encoding="utf-8"))
    assert "PatchExplorer(detector, selected=None" in explorers
    assert "*args" not in explorers
