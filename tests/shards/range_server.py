"""A local HTTP server that answers range requests, and fails as often as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass
class Served:
    """A folder that is served.

    Attributes:
        url: of the folder.
        requests: path and range of each request, in order.
        failures: the answers to the next requests: an error's number, 0 to end the connection early, -1 to ignore the range.
    """

    folder: Path
    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)

    def ranges(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[1]]


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    served = Served(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            served.requests.append((self.path, wanted))
            failure = served.failures.pop(0) if served.failures else None
            file = served.folder / unquote(self.path).lstrip("/")
            if failure is not None and failure > 0:
                self.send_error(failure)
                return
            if not file.is_file():
                self.send_error(404)
                return
            content = file.read_bytes()
            if wanted and failure != -1:
                start, stop = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                content = content[start : stop + 1]
                self.send_response(206)
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if failure == 0 else content)
            self.close_connection = failure == 0

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
