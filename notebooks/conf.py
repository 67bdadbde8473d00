"""Sphinx settings: `make book` writes the notebooks as a site that needs no network, out/book/index.html."""

import inspect
import json
import posixpath
import re
import shutil
from importlib.resources import files
from pathlib import Path

from docutils import nodes

project = "musc_lite"
html_title = "The musc_lite course"
extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc"]
# Neither the paired texts, nor notebooks of your own.
include_patterns = ["*.md", "0*.ipynb", "final_project*.ipynb", "maps_of_another_method.ipynb", "reference/*.md"]
include_patterns += [f"teaching/{name}.md" for name in ("plan", "quizzes", "assignment")]

nb_execution_mode = "off"  # the figures are those that the notebooks were committed with
nb_merge_streams = True  # what a cell prints stays in one box
nb_ipywidgets_js = {}  # sliders and progress bars need a kernel; their script would come from a CDN
# So show what else such an output holds, a picture or a table; if it holds nothing but its name, show nothing.
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", 85)]

myst_heading_anchors = 2  # the README links to sections of the guide
myst_enable_extensions = ["dollarmath", "amsmath"]  # $...$, $$...$$ and \begin{align}, as Jupyter reads them
myst_dmath_double_inline = True  # also $$...$$ amid a line
# One file holds MathJax with its glyphs. Used as an extension, the package would copy all of its 24 MB.
html_static_path = ["book.css", "book.js", str(files("sphinx-mathjax-offline") / "static/mathjax/tex-svg-full.js")]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
mathjax_path = "tex-svg-full.js"

default_role = "py:obj"  # `names` in docstrings are links to what they name, where the reference has it
autodoc_typehints = "none"  # docstrings say more: shapes and units
autodoc_member_order = "bysource"
smartquotes = False  # "even" copied from a page is Python
numpydoc_show_class_members = False  # they follow with their own docstrings

html_theme = "sphinx_book_theme"  # brings its fonts and scripts along
html_sourcelink_suffix = ""  # the download button offers page.ipynb, not page.ipynb.txt
html_use_index = html_domain_indices = False  # the reference lists its names in the margin
html_show_search_summary = False  # the search would fetch each page, which browsers refuse from a disk
html_theme_options = {
    "navbar_persistent": [],  # one search field is enough
    "footer_content_items": [],  # no author line
}


def link_markdown_files(app, docname, source):
    """Offer Markdown files that are no pages of the book, such as the README, for download, like any file."""

    def link(found):
        page = posixpath.normpath(posixpath.join(posixpath.dirname(docname), found[1]))
        return found[0] if page.removesuffix(".md") in app.env.found_docs else f"](path:{found[1]})"

    source[0] = re.sub(r"\]\((?!https?:)([^)#\s]+\.md)(#[^)\s]*)?\)", link, source[0])


# What `make book` has `live_page.py` write: the explorers of one batch, computed by the reader's browser. The notebooks
# of that batch show it in place of the pictures of their explorers; without it, or without scripts, the pictures stay.
LIVE_BATCH = 'planted_textures("brick")'
LIVE_NOTEBOOKS = ("03", "04", "05")
LIVE_TABS = {
    "PatchExplorer": "patch",
    "SimilarityCounts": "counts",
    "IntervalExplorer": "interval",
    "RescoringExplorer": "rescoring",
    "ThresholdExplorer": "threshold",
}
WIDGET = "application/vnd.jupyter.widget-view+json"


def mark_live_explorers(app, docname, source):
    """Tag each cell whose output is an explorer that the live page has."""
    if not app.config.live_page or not docname.startswith(LIVE_NOTEBOOKS):
        return
    notebook = json.loads(source[0])
    if not any(LIVE_BATCH in "".join(cell["source"]) for cell in notebook["cells"]):
        return
    for cell in notebook["cells"]:
        shown = re.search(rf"({'|'.join(LIVE_TABS)})\(detector\b", "".join(cell["source"]))
        if shown and any(WIDGET in output.get("data", {}) for output in cell.get("outputs", [])):
            cell["metadata"].setdefault("tags", []).append(f"live-{LIVE_TABS[shown[1]]}")
    source[0] = json.dumps(notebook)


def show_live_explorers(app, doctree):
    """Put the live page before the picture of each cell that is tagged, and the picture where no scripts run."""
    for cell in doctree.findall(nodes.container):
        tab = next((each.removeprefix("tag_live-") for each in cell["classes"] if each.startswith("tag_live-")), None)
        for picture in list(cell.findall(nodes.image)) if tab else []:
            whole = picture if isinstance(picture.parent, nodes.container) else picture.parent  # with its caption
            place = f'src="live/{Path(app.config.live_page).name}#{tab}" title="Explorer: {tab}" loading="lazy"'
            begin = nodes.raw("", f'<iframe class="live" {place}></iframe><noscript>', format="html")
            whole.replace_self([begin, whole.deepcopy(), nodes.raw("", "</noscript>", format="html")])


def copy_live_page(app, exception):
    """Lay the live page beside the others."""
    if app.config.live_page and not exception:
        folder = Path(app.outdir, "live")
        folder.mkdir(exist_ok=True)
        shutil.copy(app.config.live_page, folder)


def say_what_explorers_take(app, what, name, obj, options, signature, return_annotation):
    """Return the signature of a widget's `__init__`; autodoc sees the (*args, **kwargs) of its traits."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    _, *taken = inspect.signature(obj.__init__).parameters.values()
    return str(inspect.Signature([parameter.replace(annotation=parameter.empty) for parameter in taken])), None


def leave_out_what_scikit_learn_adds(app, what, name, obj, skip, options):
    """Skip methods such as `set_fit_request`, which it gives each estimator; they route metadata through pipelines."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app):
    """Register the hooks above."""
    app.add_config_value("live_page", "", "env", str)  # what -D live_page=... names
    app.connect("source-read", mark_live_explorers)
    app.connect("doctree-read", show_live_explorers)
    app.connect("build-finished", copy_live_page)
    app.connect("source-read", link_markdown_files)
    app.connect("autodoc-process-signature", say_what_explorers_take)
    app.connect("autodoc-skip-member", leave_out_what_scikit_learn_adds)
