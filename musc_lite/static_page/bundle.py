"""The scripts of the page as one: modules do not load from a file, a classic script does."""

import re

from musc_lite.reports.html import read_web

# Each sees the names of those before it. The views are the very files that Jupyter uses.
MODULES = {
    "core": ("static_page/core.js",),
    "tiles": ("widgets/zoom.js", "widgets/tiles.js"),
    "chart": ("widgets/chart.js",),
    "host": ("static_page/host.js",),
    "patch": ("static_page/patch.js",),
    "counts": ("static_page/counts.js",),
    "interval": ("static_page/interval.js",),
    "rescoring": ("static_page/rescoring.js",),
    "threshold": ("static_page/threshold.js",),
}
STYLES = ("static_page/page.css", "widgets/tiles.css", "widgets/chart.css")


def classic(name: str, module: str) -> str:
    r"""Turn an ES module that imports nothing and ends with its default export into a constant of this name.

    Examples
    --------
    >>> print(classic("core", "const two = 2;\nexport default { two };\n"))
    const core = (() => {
    const two = 2;
    return { two };
    })();
    """
    body, n_exports = re.subn(r"^export default\b", "return", module.strip(), flags=re.MULTILINE)
    if n_exports != 1 or re.search(r"^(import|export)\b", body, flags=re.MULTILINE):
        raise ValueError(f"{name} is no module that imports nothing and has one default export")
    return f"const {name} = (() => {{\n{body}\n}})();"


def script(*names: str) -> str:
    """Return some modules, by default all, and with them `page.js`, which starts the page."""
    modules = [classic(name, read_web(*MODULES[name])) for name in names or MODULES]
    return "\n".join(modules if names else ["(() => {", *modules, read_web("static_page/page.js"), "})();"])


def styles() -> str:
    """Return the styles of the page and its views."""
    return read_web(*STYLES)
