"""A server on this machine with an OpenAI-compatible address, which behaves as a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request as it came. number: how many came before it."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return self.body["prompt"] if "prompt" in self.body else self.body["messages"][-1]["content"]


class Reply(NamedTuple):
    """What the server sends. drip: seconds between the bytes of the content; hold: before anything; cut: it hangs up after so
    many bytes."""

    content: Any = b""
    state: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    drip: float = 0.0
    hold: float = 0.0
    cut: int | None = None


def chat(text: str | None, reason: str = "stop", **more: Any) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason, **more}
    return Reply({"choices": [choice], "usage": {"completion_tokens": 7}})


def completion(text: str, reason: str = "stop", **more: Any) -> Reply:
    return Reply({"choices": [{"index": 0, "text": text, "finish_reason": reason, **more}]})


class Server(NamedTuple):
    address: str
    asked: list[Asked]


@contextmanager
def serving(answer: Callable[[Asked], Reply], port: int = 0) -> Iterator[Server]:
    """Runs a server while the block lasts."""
    asked: list[Asked] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                request = Asked(len(asked), self.path, dict(self.headers), body)
                asked.append(request)
            reply = answer(request)
            time.sleep(reply.hold)
            content = (
                reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
            )
            try:
                self.send_response(reply.state)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if reply.drip:
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply.drip)
                else:
                    self.wfile.write(content[: reply.cut])
            except OSError:  # nobody listens any more
                pass
            if reply.cut is not None:
                self.close_connection = True

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}/v1", asked)
    finally:
        server.shutdown()
        server.server_close()
