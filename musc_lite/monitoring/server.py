"""The server of the app page: who may open it, how many pages run at once, and what a page may load."""

import asyncio
import html
import secrets
import threading
import time
import webbrowser
from contextvars import ContextVar

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.base.handlers import FileFindHandler, JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyterlab_server.themes_handler import ThemesHandler
from tornado import web
from traitlets import Dict
from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.static_file_handler import MultiStaticFileHandler, TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

MOST_PAGES = 8  # each holds a backbone and the features of a folder
LIFETIME = 600.0  # seconds in which a link can be used
LEAVING = 5.0  # seconds that a page which is left or reloaded may take to end
LOADING = 20.0  # seconds between the last byte of a page and its first connection to the kernel

POLICY = {
    "default-src": "'none'",
    "script-src": "'self' blob:",  # blob: the widgets' modules, which come over the page's own connection
    "style-src": "'self' data: 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
HEAD = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>MuSc</title><link rel="icon" href="data:,">
<style>body { font: 1rem/1.5 sans-serif; margin: 2rem auto; max-width: 40rem; padding: 0 1rem }</style>
"""
_SESSION: ContextVar[str] = ContextVar("session")  # of the request that starts a kernel


class OneTimeLinks:
    """Keys that can be used once, each for a short time.

    Parameters
    ----------
    lifetime : float
        Seconds.
    """

    def __init__(self, lifetime: float = LIFETIME):
        self._lifetime, self._ends = lifetime, dict[str, float]()

    def make(self) -> str:
        """Return a new key."""
        self._ends[key := secrets.token_urlsafe(32)] = time.monotonic() + self._lifetime
        return key

    def is_open(self, key: str) -> bool:
        """Whether a key can be used now."""
        return time.monotonic() < self._ends.get(key, 0.0)

    def use(self, key: str) -> bool:
        """Return whether the key could be used now; it cannot be used again."""
        is_open = self.is_open(key)
        self._ends.pop(key, None)
        return is_open


class _CookieOnly(IdentityProvider):
    """Knows users by a cookie of this browser session; neither a password nor JUPYTER_TOKEN opens the page."""

    cookie_options = Dict({"samesite": "Strict", "expires_days": None})


class _Kernels(AsyncMappingKernelManager):
    """The kernels of pages, one for each session."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pages: dict[str, _Page] = {}

    async def start_kernel(self, **kwargs):  # type: ignore[override]
        """Start a kernel and note whose it is."""
        kernel_id = await super().start_kernel(**kwargs)
        if page := self.pages.get(_SESSION.get("")):
            page.kernel_id = kernel_id
        return kernel_id

    async def shutdown_kernel(self, kernel_id, *args, **kwargs):  # type: ignore[override]
        """End a kernel; its session may open the page again at once."""
        self.pages = {session: page for session, page in self.pages.items() if page.kernel_id != kernel_id}
        return await super().shutdown_kernel(kernel_id, *args, **kwargs)

    def is_used(self, session: str) -> bool:
        """Whether a page of this session is open or being loaded."""
        page = self.pages.get(session)
        if page is None or not page.kernel_id:
            return page is not None and not page.is_left
        if page.kernel_id not in self:
            return False
        connected = self.kernel_model(page.kernel_id)["connections"] > 0
        return connected or (not page.is_left and time.monotonic() < page.sent + LOADING)

    async def end(self, session: str) -> None:
        """End the kernel of a session, if there is one."""
        page = self.pages.pop(session, None)
        if page is not None and page.kernel_id in self:
            await self.shutdown_kernel(page.kernel_id, now=True)


class _Page(TornadoVoilaHandler):
    """The page itself."""

    kernel_id = ""
    is_left = False  # the browser closed the connection before the page was sent
    sent = float("inf")  # when its last byte was

    @property
    def content_security_policy(self) -> str:
        """The policy, which lets scripts of this answer run alone."""
        return _in_one_line(POLICY | {"script-src": f"{POLICY['script-src']} 'nonce-{self._nonce}'"})

    def set_default_headers(self) -> None:
        """Set the headers of a new answer, with a nonce of its own."""
        self._nonce = secrets.token_urlsafe(16)
        super().set_default_headers()

    @web.authenticated
    async def get(self, path: str | None = None) -> None:
        """Send the page with a kernel of its own, where this session has none yet."""
        if path:
            raise web.HTTPError(404)
        fetched = self.request.headers
        if fetched.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return _say(self, 403, "Another page sent you here. If you want to open the app, follow this link.", "/")
        if fetched.get("Sec-Fetch-Dest", "document") != "document":
            raise web.HTTPError(403)
        kernels, session = self.kernel_manager, self.current_user.username
        if self.request.query == "here":
            await kernels.end(session)
        if self.request.query:  # the page takes no arguments, so that no link can bring any
            return self.redirect("/")
        end = time.monotonic() + LEAVING
        while kernels.is_used(session) and time.monotonic() < end:  # of a page that is reloaded the end comes late
            await asyncio.sleep(0.1)
        if kernels.is_used(session):
            text = (
                "The app is open in another tab or window of this browser already, and one page runs at a time: go on "
            )
            text += "there. This link ends that page with what it is working on, and opens the app here."
            return _say(self, 409, text, "/?here")
        await kernels.end(session)
        if len(kernels.pages) >= MOST_PAGES:
            text = f"{MOST_PAGES} pages are open, and no more run at a time. Close one, wait two minutes and try again."
            return _say(self, 503, text, "/")
        kernels.pages[session] = self
        _SESSION.set(session)
        try:
            async for part in self.get_generator():
                self.write(part.replace("<script", f'<script nonce="{self._nonce}"'))
                await self.flush()
        except BaseException:
            self.is_left = True
            raise
        finally:
            self.sent = time.monotonic()

    def on_connection_close(self) -> None:
        self.is_left = True
        super().on_connection_close()


class _Entrance(JupyterHandler):
    """Where a one-time link leads."""

    @allow_unauthenticated
    def get(self) -> None:
        """Return the browser its cookie and lead it to the page, if the link is good."""
        server: Server = self.settings["voila"]
        if server.links.use(self.get_query_argument("link", "")):
            if self.current_user is None:
                provider = self.identity_provider
                provider.set_login_cookie(self, provider.generate_anonymous_user(self))
        elif self.current_user is None:
            server.tell_link()
            text = "This page opens by a link that musc-lite app prints in its terminal. A link works once, within "
            text += f"{LIFETIME / 60:.0f} minutes, and this address is none, or one that is used up. A new link stands "
            text += "in the terminal now: open the last one. A browser that has the app open already needs none."
            return _say(self, 403, text, "/")
        # A page that leads on, no redirect: where another page or program led here, a browser would not send the new
        # cookie along with a redirect, and this address would stay in its history.
        self.set_header("Cache-Control", "no-store")
        self.finish(HEAD + '<meta http-equiv="refresh" content="0; url=/">')


class _Closed(JupyterHandler):
    """Static files behind the cookie and the check of the host; mixed into voila's and Jupyter's handlers of files."""

    @web.authenticated
    async def get(self, path: str, include_body: bool = True) -> None:
        """Send a file."""
        await super().get(path, include_body)  # type: ignore[misc]


class Server(Voila):
    """Voila with one notebook, behind a one-time link.

    Attributes
    ----------
    links : OneTimeLinks
        Keys that open the page.
    with_browser : bool
        Whether a browser is opened once the port is known.
    """

    def __init__(self, with_browser: bool, **kwargs):
        # A name that leads here from elsewhere (DNS rebinding) is not local, and refused.
        settings = {"allow_remote_access": False, "local_hostnames": ["localhost"]}
        settings["headers"] = HEADERS | {"Content-Security-Policy": _in_one_line(POLICY)}
        super().__init__(token="", identity_provider_class=_CookieOnly, tornado_settings=settings, **kwargs)
        self.with_browser, self.links, self._printed = with_browser, OneTimeLinks(), ""

    def init_settings(self) -> dict:
        """Return voila's settings, with kernels that are counted."""
        self.voila_configuration.multi_kernel_manager_class = _Kernels
        return super().init_settings()

    def init_handlers(self) -> list:
        """Return the handlers that the page needs, all behind the cookie: no files, no passwords."""
        files = (TemplateStaticFileHandler, MultiStaticFileHandler, ThemesHandler, FileFindHandler)
        own = {handler: type(handler.__name__, (_Closed, handler), {}) for handler in files}
        own |= {each: each for each in (KernelHandler, VoilaKernelWebsocketHandler, VoilaShutdownKernelHandler)}
        own[TornadoVoilaHandler] = _Page
        rules = [
            (pattern, own[handler], *more) for pattern, handler, *more in super().init_handlers() if handler in own
        ]
        return [("/login", _Entrance), *rules]

    def launch_browser(self) -> None:
        """Print a link, and open another one: others may see what a browser is called with, and it works once."""
        self.tell_link()
        print("The link works once, and a new one is printed when it is needed. Ctrl+C ends the app.", flush=True)
        if self.with_browser:
            threading.Thread(target=webbrowser.open, args=(self._address(self.links.make()),), daemon=True).start()

    def tell_link(self) -> None:
        """Print a link, unless the last one that was printed can still be used."""
        if not self.links.is_open(self._printed):
            self._printed = self.links.make()
            print(f"The page is at {self._address(self._printed)}", flush=True)

    def _address(self, key: str) -> str:
        return f"http://{self.ip}:{self.port}/login?link={key}"


def _in_one_line(policy: dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def _say(handler: JupyterHandler, status: int, text: str, link: str) -> None:
    """Send a small page of one paragraph and a link to the app."""
    handler.set_status(status)
    handler.set_header("Cache-Control", "no-store")
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    handler.finish(f'{HEAD}<p>{html.escape(text)}</p><p><a href="{link}">Open the app</a></p></html>')
