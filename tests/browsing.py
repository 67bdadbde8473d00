"""A real browser, a real JupyterLab and the app for tests: started once, and what is common to clicking in them.

Needs Chromium (`apt-get install chromium`) and playwright; tests that use the fixture `browser` are skipped where
either is missing. Screenshots are kept in out/screenshots.
"""

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import psutil  # ipykernel brings it
import pytest
from jupyter_client import BlockingKernelClient

SHOTS = Path(__file__).parents[1] / "out" / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]

# The first cell of notebooks that show explorers of twelve bricks: their kernel is started, and fits, once.
PREPARE = """
import musc_lite
from musc_lite.widgets import *
images = musc_lite.planted_textures("brick", n_images=12, n_defective=4)
detector = musc_lite.MuSc(layers=[5, 8], r=(1, 3)).fit(images)
"""
PREPARE_AGAIN = """
Out.clear()
__import__("ipywidgets").Widget.close_all()
detector = musc_lite.MuSc(layers=[5, 8], r=(1, 3)).fit_features(detector.features_, images)
"""


@pytest.fixture(scope="module")
def browser():
    """Start Chromium; for one module, since while it runs no other test may use asyncio."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra 'test'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def new_page(context):
    """Open a page that records errors, and requests that would leave this machine."""
    page = context.new_page()
    page.errors, page.outside = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    local = ("http://127.0.0.1", "ws://127.0.0.1", "file:", "data:", "blob:")
    page.on("request", lambda request: request.url.startswith(local) or page.outside.append(request.url))
    return page


@pytest.fixture(scope="module")
def lab_context(browser):
    """Where JupyterLab is opened: its 200 scripts are loaded and compiled once."""
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    yield context
    context.close()


@pytest.fixture
def page(request, browser):
    """Open a page; in a browser without a past, but for tests of JupyterLab."""
    if "lab" not in request.fixturenames:
        context = browser.new_context(viewport={"width": 1280, "height": 1600})
        yield new_page(context)
        context.close()
        return
    page = new_page(request.getfixturevalue("lab_context"))
    yield page
    page.close()
    set_theme(request.getfixturevalue("lab"), "Light")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Start JupyterLab on a folder of its own, with settings of its own."""
    home = tmp_path_factory.mktemp("lab")
    (home / "work").mkdir()
    names = ("CONFIG", "DATA", "RUNTIME")
    environment = os.environ | {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in names}
    environment |= {"IPYTHONDIR": str(home / "ipython"), "TQDM_DISABLE": "1"}
    environment |= {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = ["jupyterlab", "--allow-root", "--IdentityProvider.token=", "--ServerApp.password="]
    command += ["--ServerApp.port_retries=0", "--ServerApp.disable_check_xsrf=True"]
    command += [f"--ServerApp.root_dir={home / 'work'}"]
    with served(command, home, environment) as url:
        yield {"url": url, "folder": home / "work", "settings": settings, "runtime": home / "runtime"}


def set_theme(lab, theme):
    (lab["settings"] / "themes.jupyterlab-settings").write_text(json.dumps({"theme": f"JupyterLab {theme}"}))


@contextmanager
def served(command, log_folder, environment=None, folder=None):
    """Run a Jupyter server on a free port until the caller is done."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *command, "--no-browser", f"--port={port}"]
    with (log_folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: listens(port), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(server)


def stop(server):
    """Ask a server and its kernels to end; a busy machine may take longer than we wait, and is not a failure."""
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    raise TimeoutError(f"nothing after {seconds} s")


def ask(lab, address, method="GET", **content):
    """Send a request to the server of JupyterLab; give its answer."""
    body = json.dumps(content).encode() if content else None
    request = urllib.request.Request(f"{lab['url']}/api/{address}", data=body, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = response.read()
    return json.loads(answer) if answer else None


def run_all(page, lab, cells, name):
    """Write a notebook of these cells, open it in Lab, run it, and wait until its last cell has printed."""
    if cells[0] == PREPARE:
        end_kernels(lab, but=lab.get("prepared"))
        cells = [PREPARE_AGAIN if lab.get("prepared") else PREPARE, *cells[1:]]
        lab["prepared"] = lab.get("prepared") or ask(lab, "kernels", "POST", name="python3")["id"]
        kernel = {"id": lab["prepared"]}
    else:
        end_kernels(lab, but=lab.get("prepared"))
        kernel = {"name": "python3"}
    sources = [*cells, "print('all ' + 'done')"]
    write_notebook(lab, [nbformat.v4.new_code_cell(source) for source in sources], name)
    open_and_run(page, lab, name, kernel)


def write_notebook(lab, cells, name):
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, lab["folder"] / f"{name}.ipynb")


def end_kernels(lab, but=None):
    """End the kernels of earlier tests, which hold a gigabyte each."""
    for kernel in ask(lab, "kernels"):
        if kernel["id"] != but:
            ask(lab, f"kernels/{kernel['id']}", "DELETE")
    if but is None:
        lab.pop("prepared", None)


def open_and_run(page, lab, name, kernel):
    """Open a notebook on a kernel, one that runs or one of this kind, and run all of it."""
    session = ask(lab, "sessions", "POST", path=f"{name}.ipynb", name=name, type="notebook", kernel=kernel)
    lab["kernel"] = session["kernel"]["id"]
    page.goto(f"{lab['url']}/lab/workspaces/{name}/tree/{name}.ipynb")
    words = page.locator(".jp-Toolbar-kernelName", has_text="Python 3")  # a narrow page folds it away
    words.wait_for(timeout=60_000, state="attached")

    def is_ready():
        kernel = ask(lab, f"kernels/{lab['kernel']}")
        return kernel["execution_state"] == "idle" and kernel["connections"]

    wait_for(is_ready, 60)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.locator(".jp-OutputArea-output", has_text="all done").wait_for(timeout=180_000)


def in_kernel(lab, expression):
    """Evaluate an expression in the kernel of the notebook that was opened last, beside the browser."""
    client = BlockingKernelClient(connection_file=str(lab["runtime"] / f"kernel-{lab['kernel']}.json"))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)  # what a kernel says before its listener is connected is lost
        reply = client.execute_interactive("", user_expressions={"asked": expression}, timeout=60)
    finally:
        client.stop_channels()
    return ast.literal_eval(reply["content"]["user_expressions"]["asked"]["data"]["text/plain"])


def click_patch(page, tile, patch, grid=(16, 16)):
    box = tile.bounding_box()
    x = (patch % grid[1] + 0.5) * box["width"] / grid[1]
    y = (patch // grid[1] + 0.5) * box["height"] / grid[0]
    tile.click(position={"x": x, "y": y})


def drag(page, frame, begin, end):
    """Press the mouse at one share of a frame, in two moves go to another, and let go."""
    for k, (x, y) in enumerate((begin, (np.add(begin, end) / 2), end)):
        page.mouse.move(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])
        if k == 0:
            page.mouse.down()
    page.mouse.up()


def all_drawn(pictures):
    return pictures.count() and all(pictures.evaluate_all("images => images.map(image => image.naturalWidth)"))


def keep(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


@contextmanager
def app_served(tmp_path, *arguments):
    """Run `musc-lite app`; give the page's address."""
    (tmp_path / "runtime").mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(tmp_path / "runtime"), "IPYTHONDIR": str(tmp_path / "ipython")}
    command = ["musc_lite.cli", "app", *map(str, arguments), "--output", str(tmp_path / "out")]
    with served(command, tmp_path, environment):
        yield wait_for(lambda: re.search(r"http://\S+", (tmp_path / "log").read_text()), 10)[0]


@pytest.fixture
def app(tmp_path):
    with app_served(tmp_path) as url:
        yield url


def kernels(tmp_path):
    """Find the processes of the kernels of the app that was served with this folder."""
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    of_app = [command for command in commands if any(str(tmp_path / "runtime") in word for word in command)]
    return [command for command in of_app if "ipykernel_launcher" in command]
