"""An endpoint of the tests' own on this machine: speaks the API, misbehaves as told, remembers what it was sent."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nnunet_textomorph.llm_reports.engines import extract_offline

PROMPT_TOKENS, COMPLETION_TOKENS = 100, 50


@dataclass
class Reply:
    """``cut``: bytes of the body that are sent before the connection breaks. ``wait``: seconds before anything is."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: int | None = None
    kind: str = "application/json"


def completion(text: str, finish: str = "stop") -> Reply:
    body = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS},
    }
    return Reply(body=json.dumps(body))


def error(status: int, message: str = "no", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({"error": {"message": message}}), named)


def question(body: dict[str, Any]) -> str:
    """The text that a request is about: the first message behind the examples."""
    last = [m for m in body["messages"] if m["role"] == "user" and "could not be used" not in m["content"]][-1]
    content = last["content"]
    return content if isinstance(content, str) else content[0]["text"]


def lesions_of(report: str) -> list[dict[str, Any]]:
    """What a faithful model would answer for a report."""
    return [
        {"quotes": list(c.lesion.evidence), **{"organ": "liver"}, **c.lesion.descriptors.model_dump(exclude_none=True)}
        for c in extract_offline(report).lesions
    ]


def faithful(body: dict[str, Any], number: int) -> Reply:
    return completion(json.dumps({"lesions": lesions_of(question(body))}))


Behaviour = Callable[[dict[str, Any], int], Reply]


class Endpoint:
    """``sent``: bodies of chat requests; ``raw``: all that came, headers apart; ``paid``: answers given."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.sent: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.times: list[float] = []
        self.authorization: set[str] = set()
        self.paid = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @contextmanager
    def running(self) -> Iterator[Endpoint]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
                endpoint.answer(self, raw)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()

    def answer(self, handler: BaseHTTPRequestHandler, raw: str) -> None:
        body = json.loads(raw)
        with self.lock:
            self.raw.append(handler.path + raw)
            self.authorization.add(handler.headers.get("Authorization", ""))
            if handler.path.endswith("/embeddings"):
                reply = Reply(body=json.dumps(embeddings(body["input"])))
            else:
                self.sent.append(body)
                self.times.append(time.monotonic())
                reply = self.behaviour(body, len(self.sent))
        time.sleep(reply.wait)
        content = reply.body.encode()
        handler.close_connection = True
        try:
            if reply.cut == 0:
                return
            handler.send_response(reply.status)
            for name, value in {
                "Content-Type": reply.kind,
                "Content-Length": str(len(content)),
                **reply.headers,
            }.items():
                handler.send_header(name, value)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(content[: reply.cut])
            handler.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            return
        if reply.status == 200 and reply.cut is None:
            with self.lock:
                self.paid += 1


def embeddings(texts: list[str]) -> dict[str, Any]:
    """Vectors by the words of a text, so that texts with the same words are alike."""
    data = []
    for index, text in enumerate(texts):
        vector = [1.0] + [0.0] * 31
        for word in text.lower().split():
            vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % 31 + 1] += 0.1
        data.append({"object": "embedding", "index": index, "embedding": vector})
    return {"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
