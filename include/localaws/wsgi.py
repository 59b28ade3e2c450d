"""Serve a WSGI application over HTTP/1.1 with persistent connections.

werkzeug's development server closes each connection, because it cannot tell what is left of a request
body; this handler reads every body through a counter, so it can. A boto3 call is then 2 ms shorter.
"""

import contextlib
import logging
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterable
from http.server import ThreadingHTTPServer
from typing import Any, Protocol
from wsgiref.types import WSGIApplication

from moto.moto_server.werkzeug_app import MotoRequestHandler

logger = logging.getLogger(__name__)

# A client that sent an error-provoking body is drained up to here, else the connection is closed.
MAX_DRAIN_BYTES = 16 * 1024 * 1024


# Close at once and without a FIN: what was not sent is thrown away, and the client is told by an RST.
_ABORT = struct.pack("ii", 1, 0)


class DropConnectionError(Exception):
    """Raised by an application that wants the connection cut instead of an answer."""


class Readable(Protocol):
    """What a body reader needs of a stream."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to size bytes."""

    def readline(self, size: int = -1, /) -> bytes:
        """Read one line."""


class BodyReader:
    """Reads at most the announced bytes of a request body, and knows how many are left."""

    def __init__(self, stream: Readable, length: int) -> None:
        self._stream = stream
        self.left = length

    def read(self, size: int = -1, /) -> bytes:
        """Read up to size bytes; all that is left when negative."""
        return self._count(self._stream.read(self._limit(size)))

    def readline(self, size: int = -1, /) -> bytes:
        """Read up to a line's end."""
        return self._count(self._stream.readline(self._limit(size)))

    def drain(self) -> bool:
        """Skip what the application did not read; False when that is too much to read."""
        while 0 < self.left <= MAX_DRAIN_BYTES:
            if not self.read(65536):
                return False
        return self.left == 0

    def _limit(self, size: int) -> int:
        return self.left if size < 0 else min(size, self.left)

    def _count(self, block: bytes) -> bytes:
        self.left -= len(block)
        return block


class Server(ThreadingHTTPServer):
    """One thread per connection, one application."""

    daemon_threads = True
    request_queue_size = 128
    # What werkzeug's handler asks of its server.
    multithread = True
    multiprocess = False
    ssl_context = None
    passthrough_errors = False

    def __init__(self, address: tuple[str, int], app: WSGIApplication, *, verbose: bool) -> None:
        self.app = app
        self.verbose = verbose
        super().__init__(address, Handler)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  (the base class's)
        """End a connection in order, unless it is to be cut."""
        with contextlib.suppress(OSError):
            if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_ABORT)) == _ABORT:
                self.close_request(request)
                return
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  (the base class's)
        """Log what a connection thread died of; a client that hung up is no error."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            logger.error("connection from %s failed:\n%s", client_address, traceback.format_exc())


class Handler(MotoRequestHandler):
    """Runs the application for each request of a connection."""

    protocol_version = "HTTP/1.1"
    server: Server  # type: ignore[assignment]  # werkzeug names its own; this one offers what it uses
    disable_nagle_algorithm = True
    wbufsize = 65536
    # An idle persistent connection is closed after this, as S3 does.
    timeout = 120

    def run_wsgi(self) -> None:
        """Serve one request; keep the connection unless its stream is in doubt."""
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ = self.make_environ()
        body = None
        if not environ.get("wsgi.input_terminated"):
            body = BodyReader(self.rfile, int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = body
        response = _Response(self)
        try:
            blocks = self.server.app(environ, response.start)
            self._send(blocks, response)
        except DropConnectionError:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self.close_connection = True
            return
        except Exception:
            self.close_connection = True
            logger.exception("%s %s failed", self.command, self.path)
            if not response.sent:
                _fail(response)
        if body is None or not body.drain():
            self.close_connection = True
        self.wfile.flush()

    def _send(self, blocks: Iterable[bytes], response: "_Response") -> None:
        try:
            for block in blocks:
                response.write(block)
            response.finish()
        finally:
            close = getattr(blocks, "close", None)
            if close is not None:
                close()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002  (the base class's)
        """Write an access line, if asked for."""
        if self.server.verbose:
            sys.stderr.write(f"{self.command} {self.path} {code}\n")


class _Response:
    """WSGI's start_response and write for one request."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._chunked = False
        self.sent = False

    def start(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: Any = None,  # noqa: ANN401, ARG002  (WSGI's signature)
        /,
    ) -> Callable[[bytes], object]:
        self._status, self._headers = status, headers
        return self.write

    def write(self, block: bytes) -> None:
        if not self.sent:
            self._send_head()
        if not block or self._handler.command == "HEAD":
            return
        if self._chunked:
            self._handler.wfile.write(f"{len(block):x}\r\n".encode())
        self._handler.wfile.write(block)
        if self._chunked:
            self._handler.wfile.write(b"\r\n")

    def finish(self) -> None:
        if not self.sent:
            self._send_head()
        if self._chunked:
            self._handler.wfile.write(b"0\r\n\r\n")

    def _send_head(self) -> None:
        code, _, reason = self._status.partition(" ")
        self._handler.send_response(int(code), reason)
        names = {name.lower() for name, _ in self._headers}
        for name, value in self._headers:
            self._handler.send_header(name, value)
        bodiless = self._handler.command == "HEAD" or int(code) in {204, 304}
        if "content-length" not in names and not bodiless:
            self._chunked = True
            self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()
        self.sent = True


def _fail(response: _Response) -> None:
    message = b"The embedded AWS failed on this request; its log says why."
    headers = [("Content-Length", str(len(message))), ("Content-Type", "text/plain")]
    response.start("500 Internal Server Error", headers)
    response.write(message)
    response.finish()
