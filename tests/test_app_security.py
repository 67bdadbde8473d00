"""Who may open the page of `musc-lite app`, and what a page may do: by plain requests, and in a real browser."""

import json
import re
import threading
import time
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from browsing import app_served, keep, kernels, wait_for

from musc_lite.cli.serve_app import PAGE
from musc_lite.monitoring.server import MOST_PAGES, OneTimeLinks, Server


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Run one app for the tests that need no page; give its folder, its address and a session that may open it."""
    folder = tmp_path_factory.mktemp("app")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_TOKEN", "from-the-environment")
        with app_served(folder) as link:
            session = requests.Session()
            session.entered = session.get(link, timeout=30)
            yield folder, link.split("/login")[0], session


def test_the_key_is_in_no_address_and_the_cookie_is_for_this_page_alone(served):
    folder, url, session = served
    assert "token=" not in (folder / "log").read_text()
    assert requests.get(f"{url}/?token=from-the-environment", timeout=30).status_code == 403
    entered = session.entered
    assert {"HttpOnly", "SameSite=Strict"} <= set(re.split("; ?", entered.headers["Set-Cookie"]))
    assert "expires" not in entered.headers["Set-Cookie"].lower()
    assert 'content="0; url=/"' in entered.text


def test_a_link_works_once_and_the_refusal_says_how_to_get_another(served):
    folder, _, session = served
    used = session.entered.request.url
    assert session.get(used, timeout=30).status_code == 200  # this browser has its cookie already
    for again in (used, used[:-3] + "abc"):
        refused = requests.get(again, timeout=30)
        assert refused.status_code == 403
        assert "Set-Cookie" not in refused.headers
        assert "A new link stands in the terminal now" in refused.text
    links = re.findall(r"The page is at (\S+)", (folder / "log").read_text())
    assert len(links) == 2  # two refusals print one link: the first of it is still good
    stranger = requests.Session()
    stranger.get(links[1], timeout=30)
    assert len(stranger.cookies) == 1
    assert requests.get(links[1], timeout=30).status_code == 403


def test_links_end_by_themselves():
    links = OneTimeLinks(lifetime=0.2)
    first, second = links.make(), links.make()
    assert links.use(first)
    assert not links.use(first)
    time.sleep(0.3)
    assert not links.use(second)
    assert not links.use("")


def test_the_browser_is_called_with_a_link_of_its_own(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    server = Server(True)
    server.launch_browser()
    wait_for(lambda: opened, 10)
    key = opened[0].split("link=")[1]
    assert key not in capsys.readouterr().out
    assert server.links.use(key)
    assert not server.links.use(key)


def test_every_address_is_closed_without_the_cookie_and_none_leads_out(served):
    folder, url, session = served
    addresses = ["", "voila/static/voila.js", "voila/templates/lab/static/voila.js", "voila/api/themes/a/index.css"]
    addresses += ["api/kernels", "api/contents", "api/terminals", "api/sessions", "voila/files/a.png", "files/a.png"]
    addresses += ["nbconvert/html/app.ipynb", "voila/api/contents", "voila/render/app.ipynb", "voila/tree", "logout"]
    for address in addresses:
        answer = requests.get(f"{url}/{address}", timeout=30)
        assert answer.status_code == 403, address
        assert answer.url.startswith(f"{url}/login"), address
    assert session.get(f"{url}/voila/static/voila.js", timeout=30).status_code == 200
    closed = [each for each in addresses if not each.startswith(("voila/static", "voila/templates")) and each]
    up = ["../" * 8 + "etc/passwd", "..%2f" * 8 + "etc/passwd", "%2e%2e/" * 8 + "etc/passwd", "/etc/passwd"]
    closed += [f"voila/{place}/{path}" for place in ("static", "files", "api/themes", "labextensions") for path in up]
    closed += [f"voila/templates/lab/static/{path}" for path in up]
    for address in closed:
        prepared = session.prepare_request(requests.Request("GET", f"{url}/"))
        prepared.url = f"{url}/{address}"  # as it stands: the client would take the dots out
        answer = session.send(prepared, timeout=30)
        assert answer.status_code >= 400, address
        assert "root:" not in answer.text
    for method in ("post", "put", "delete"):
        assert session.request(method, f"{url}/api/kernels", timeout=30).status_code >= 400
    assert kernels(folder) == []


def test_strangers_names_ports_and_frames_are_refused(served):
    folder, url, session = served
    port = url.rsplit(":", 1)[1]
    for address in ("", "login", "voila/static/voila.js"):
        answer = session.get(f"{url}/{address}", headers={"Host": f"elsewhere.example:{port}"}, timeout=30)
        assert answer.status_code == 403, address
        assert "link=" not in answer.text
    for headers in (
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "image"},  # from another local port, with the cookie
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"},
    ):
        assert session.get(f"{url}/", headers=headers, timeout=30).status_code == 403
    assert kernels(folder) == []


def test_links_cannot_choose_the_template_nor_the_theme():
    settings = json.loads((PAGE / "voila.json").read_text())["VoilaConfiguration"]
    assert (settings["allow_template_override"], settings["allow_theme_override"]) == ("NO", "NO")


def test_every_answer_has_the_headers(served):
    _, url, session = served
    for address in ("login", "voila/static/voila.js", "nothing"):
        headers = session.get(f"{url}/{address}", timeout=30).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_a_session_has_one_kernel_and_all_together_have_a_limit(tmp_path):
    with app_served(tmp_path) as link:
        url = link.split("/login")[0]

        def enter():
            session = requests.Session()
            links = re.findall(r"The page is at (\S+)", (tmp_path / "log").read_text())
            assert session.get(links[-1], timeout=30).status_code == 200
            requests.get(f"{url}/login", timeout=30)  # prints the next link
            return session

        first = enter()
        loading = first.get(f"{url}/", stream=True, timeout=60)
        assert loading.status_code == 200
        second = first.get(f"{url}/", timeout=60)
        assert second.status_code == 409
        assert "open in another tab" in second.text
        assert len(kernels(tmp_path)) == 1
        kernel = re.search('"kernelId": "(.*?)"', "".join(loading.iter_content(1000, decode_unicode=True)))[1]
        cookie = "; ".join(f"{name}={value}" for name, value in first.cookies.items())
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        upgrade |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        channels = f"{url}/api/kernels/{kernel}/channels"
        foreign = {"Origin": "http://127.0.0.1:1", "Cookie": cookie}
        for headers, status in ((foreign, 403), ({"Origin": url}, 403), ({"Origin": url, "Cookie": cookie}, 101)):
            with requests.get(channels, headers=upgrade | headers, stream=True, timeout=30) as answer:
                assert answer.status_code == status
        instead = first.get(f"{url}/?here", stream=True, timeout=60)
        assert instead.status_code == 200
        assert instead.url == f"{url}/"
        wait_for(lambda: len(kernels(tmp_path)) == 1, 20)
        open_pages = [enter().get(f"{url}/", stream=True, timeout=60) for _ in range(MOST_PAGES - 1)]
        assert {each.status_code for each in open_pages} == {200}
        refused = enter().get(f"{url}/", timeout=60)
        assert refused.status_code == 503
        assert f"{MOST_PAGES} pages are open" in refused.text
        assert len(kernels(tmp_path)) <= MOST_PAGES


CRAFTED = (
    "light%22%3E%3Cscript%3Edocument.title='taken over'%3C/script%3E%3Cimg src=x onerror=document.title='taken'%3E"
)


def test_a_crafted_link_runs_no_script_and_the_page_keeps_its_template(page, tmp_path):
    with app_served(tmp_path) as link:
        page.goto(link, timeout=60_000)
        find = page.get_by_role("button", name="Find anomalies")
        find.wait_for(timeout=90_000)
        assert page.url == link.split("login")[0]
        assert "link=" not in page.evaluate("performance.getEntriesByType('navigation')[0].name + document.referrer")
        page.goto(f"{page.url}?theme={CRAFTED}&template=lab", timeout=60_000)
        find.wait_for(timeout=90_000)
        assert page.url == link.split("login")[0]
        assert page.title() == "MuSc"
        assert "jsdelivr" not in page.content()
        assert page.errors == []
        assert page.outside == []
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x: onerror=\"document.title=1\">')")
        page.evaluate("fetch('http://127.0.0.1:1/').catch(() => 0)")
        blocked = "Content Security Policy"
        wait_for(lambda: sum(blocked in error for error in page.errors) >= 2, 10)
        assert page.title() == "MuSc"


def test_a_page_is_reloaded_a_second_tab_is_refused_and_another_port_starts_nothing(page, tmp_path):
    (tmp_path / "other.html").write_text("<title>other</title><a>go</a>")
    files = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=files.serve_forever, daemon=True).start()
    other = f"http://127.0.0.1:{files.server_port}"
    with app_served(tmp_path) as link:
        find = page.get_by_role("button", name="Find anomalies")
        page.goto(link, timeout=60_000)
        find.wait_for(timeout=90_000)
        page.reload(timeout=60_000)
        find.wait_for(timeout=90_000)
        wait_for(lambda: len(kernels(tmp_path)) == 1, 20)
        tab = page.context.new_page()
        tab.goto(f"{other}/other.html", timeout=60_000)
        url = link.split("login")[0]
        tab.evaluate("url => { document.querySelector('a').href = url; new Image().src = url }", url)
        tab.get_by_text("go").click()
        tab.get_by_text("Another page sent you here").wait_for(timeout=30_000)
        tab.get_by_role("link", name="Open the app").click()
        tab.get_by_text("open in another tab").wait_for(timeout=30_000)
        assert len(kernels(tmp_path)) == 1
        keep(tab, "app_second_tab")
        tab.get_by_role("link", name="Open the app").click()
        tab.get_by_role("button", name="Find anomalies").wait_for(timeout=90_000)
        assert tab.url == url
        wait_for(lambda: len(kernels(tmp_path)) == 1, 20)
    files.shutdown()
