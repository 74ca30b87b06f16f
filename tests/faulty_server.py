"""A server on this machine that breaks off, corrupts, stalls and ignores ranges when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``content``; each request for the file ``big`` first takes the next of ``faults``, if any is left."""

    daemon_threads = True

    def __init__(self, content: Mapping[str, bytes], big: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.big = dict(content), big
        self.faults: list[str] = []
        self.requests: list[tuple[str, str | None]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data"

    def ranges(self) -> list[str | None]:
        """Return the Range header of each request for the big file."""
        return [r for name, r in self.requests if name == self.big]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_error(501)

    def do_GET(self) -> None:
        name = self.path.removeprefix("/data/")
        asked = self.headers.get("Range")
        self.server.requests.append((name, asked))
        fault = self.server.faults.pop(0) if name == self.server.big and self.server.faults else ""
        if fault.isdigit() or name not in self.server.content:
            self.send_error(int(fault or 404))
            return
        data = self.server.content[name]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "ignore range" else 0
        if fault == "corrupt":
            data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
        if fault == "too long":
            data += b"and more"
        if fault == "short":
            data = data[:-5]
        body = data[start:]
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if fault == "wrong range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(data) - 1}/{len(data)}")
            body = data[shown:]
        if fault == "no length":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "break off":
            body = body[: len(body) // 2]
        if fault == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.over.wait(5)
            return
        self.wfile.write(body)


@contextmanager
def serving(content: Mapping[str, bytes], big: str) -> Iterator[Server]:
    """Serve while the block runs."""
    server = Server(content, big)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
