"""A web server for tests, on this machine: one file, and all the trouble that servers make."""

import re
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serve(content):
    """Give a server of these bytes that is stopped at the end."""
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Server(ThreadingHTTPServer):
    """One file at every address; its attributes make it behave badly."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.type = content, '"first"', "application/zip"
        self.statuses = []  # the next answers are these errors instead
        self.drops = []  # the next answers end after so many bytes
        self.ranges = True
        self.says_length = True
        self.falls_silent_after = None
        self.piece, self.pause = 10_000, 0.0  # bytes sent at once, seconds between them
        self.requests = []  # the Range of each
        self.url = f"http://127.0.0.1:{self.server_port}/archive"

    def handle_error(self, request, address):  # a client that went away is no news
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        self.close_connection = True
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start, size = 0, len(server.content)
        if wanted and server.ranges and self.headers.get("If-Range") in (None, server.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if server.says_length:
            self.send_header("Content-Length", str(size - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Type", server.type)
        self.end_headers()
        self.send_pieces(server.content[start:], server.drops.pop(0) if server.drops else None)

    def send_pieces(self, content, drop_after):
        server = self.server
        for at in range(0, len(content), server.piece):
            if drop_after is not None and at >= drop_after:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if server.falls_silent_after is not None and at >= server.falls_silent_after:
                time.sleep(1.0)
                return
            self.wfile.write(content[at : at + server.piece])
            time.sleep(server.pause)

    def log_message(self, *args):
        pass
