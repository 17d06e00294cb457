"""A server that breaks off while it sends."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def serving(content: bytes, cuts: Sequence[int], *, says_length: bool) -> Iterator[str]:
    """Serves a file, for the time of a `with` block.

    Args:
      content: of the file.
      cuts: after how many bytes the first answers break off; further answers are whole.
      says_length: whether answers say how long they will be.

    Yields:
      the address of the file.
    """
    left = list(cuts)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            end = left.pop(0) if left else len(content)
            self.send_response(200)
            if says_length:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            # Whoever asked may have been killed.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content[:end])

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/ml-100k.zip"
        finally:
            server.shutdown()
            thread.join()
