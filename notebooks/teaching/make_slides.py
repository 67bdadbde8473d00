"""Write the slides of the course as one HTML file that needs no network.

    python notebooks/teaching/make_slides.py out/book/teaching/slides.html

The source is slides.md: slides are apart by a line `---`, a block quote is what the lecturer says, `$$...$$` is a
formula. A picture `![words](../03_mutual_scoring.ipynb#why-30)` is the first figure under the heading "Why 30 %?" of
that notebook, as it was last executed; `#why-30@2` is the second.

Why not nbconvert's slides: its page loads reveal.js from a CDN, and a copy of it is in no package that the course
needs. What a lecture uses of it, keys, numbers, notes and paper, is slides.js and slides.css, fifty lines each.
"""

import argparse
import base64
import html
import io
import re
from pathlib import Path

import matplotlib
import mistune
import nbformat
from matplotlib.figure import Figure

HERE = Path(__file__).parent
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
<main>
{slides}
</main>
<nav aria-label="Slides">
<button id="back" aria-label="Back">&#8592;</button>
<output id="place"></output>
<button id="on" aria-label="On">&#8594;</button>
<button id="notes" aria-pressed="false" title="Key N">Notes</button>
</nav>
<script>
{js}</script>
</body>
</html>
"""


def slug(heading: str) -> str:
    """Name a heading as links do: "## Why 30 %?" -> "why-30"."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def figures(notebook: Path) -> dict[str, list[str]]:
    """Collect the figures of an executed notebook as data addresses, by the heading that they stand under."""
    found: dict[str, list[str]] = {}
    under = ""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ (.+)", cell.source, flags=re.M)
            under = slug(headings[-1]) if headings else under
        for output in cell.get("outputs", []):
            for kind in {"image/png", "image/jpeg"} & set(output.get("data", {})):
                data = "".join(output.data[kind].split())
                found.setdefault(under, []).append(f"data:{kind};base64,{data}")
    return found


def picture(address: str) -> str:
    """Turn an address in slides.md into data: of a figure in a notebook, or of a picture file."""
    path, _, place = address.partition("#")
    file = (HERE / path).resolve()
    if file.suffix != ".ipynb":
        kind = "jpeg" if file.suffix == ".jpg" else file.suffix[1:]
        return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    heading, _, number = place.partition("@")
    found = figures(file)
    try:
        return found[heading][int(number or 1) - 1]
    except (KeyError, IndexError):
        there = ", ".join(f"{name} ({len(each)})" for name, each in found.items())
        raise ValueError(
            f"slides.md asks for {address}, but {file.name} has figures under: {there}. If the notebook was run in "
            f"part or its outputs were cleared, run it whole: python notebooks/execute.py {file.name}"
        ) from None


def formula(tex: str) -> str:
    """Draw a formula as inline SVG, by matplotlib: MathJax would be three times as large as all slides."""
    figure, written = Figure(figsize=(0.01, 0.01)), io.BytesIO()
    with matplotlib.rc_context({"mathtext.fontset": "cm", "svg.hashsalt": tex}):
        figure.text(0, 0, f"${tex.strip()}$", fontsize=26)
        figure.savefig(written, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    address = base64.b64encode(written.getvalue()).decode()
    return f'<img class="formula" alt="{html.escape(tex.strip())}" src="data:image/svg+xml;base64,{address}">'


def slide(text: str, number: int) -> str:
    """Turn the Markdown of one slide into a section."""
    text = re.sub(r"\$\$(.+?)\$\$", lambda found: formula(found[1]), text, flags=re.S)
    body = mistune.create_markdown(escape=False, plugins=["table"])(text)
    body = re.sub(r'(?<=<img src=")(?!data:)[^"]+', lambda found: picture(html.unescape(found[0])), body)
    body = body.replace("<blockquote>", '<aside class="notes">').replace("</blockquote>", "</aside>")
    return f'<section id="{number}" aria-label="Slide {number}">\n{body}</section>'


def make_slides(out: Path) -> None:
    """Write the whole page."""
    texts = re.split(r"^---\n", (HERE / "slides.md").read_text(encoding="utf-8"), flags=re.M)
    slides = "\n".join(slide(text, number) for number, text in enumerate(texts, 1))
    css, js = ((HERE / name).read_text(encoding="utf-8") for name in ("slides.css", "slides.js"))
    title = re.search(r"^# (.+)", texts[0], flags=re.M)[1]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(PAGE.format(title=html.escape(title), css=css, slides=slides, js=js), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    try:
        make_slides(parser.parse_args().out)
    except ValueError as error:
        raise SystemExit(f"No slides were written: {error}") from None
