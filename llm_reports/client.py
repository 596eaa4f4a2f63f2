"""One OpenAI-compatible endpoint: bounded cost, every answer kept on disk before it is used.

The ``openai`` client sends, retries with growing waits, and waits as long as the endpoint's Retry-After says (up to two
minutes; beyond that it gives up, and so do we). Here is what it leaves open: which form of structured output the
endpoint has, what is already paid for, and what may still be spent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import openai
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ReportError
from .privacy import host_of, is_this_machine

OPENAI_URL = "https://api.openai.com/v1"
CHARACTERS_PER_TOKEN = 3.0  # English has about 4; estimates are to be too high rather than too low
TOKENS_PER_IMAGE = 1_500  # of 512 x 512; what large models charge at most
FORMS = ("json_schema", "json_object", "text")

Message = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class StoppedError(ReportError):
    """The run cannot go on: the endpoint does not answer, or the money is spent. What was answered is kept."""


class RefusedError(ValueError):
    """The endpoint refuses this one request (too long, say); others may work."""


class Answer(NamedTuple):
    """What a model wrote. ``whole``: it was not cut off. ``paid``: not from the disk."""

    text: str
    whole: bool
    prompt_tokens: int
    completion_tokens: int
    paid: bool


@dataclass(frozen=True)
class Prices:
    """In any currency, per million tokens; 0: not known, and nothing is counted in money."""

    per_million_in: float = 0.0
    per_million_out: float = 0.0

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (prompt_tokens * self.per_million_in + completion_tokens * self.per_million_out) / 1e6


@dataclass
class Spending:
    """What a run has used. ``reserved``: the most that requests under way may cost."""

    prices: Prices
    most: float | None = None
    requests: int = 0
    from_disk: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reserved: float = 0.0
    _under_way: int = 0
    _lock: threading.Condition = field(default_factory=threading.Condition)

    @property
    def cost(self) -> float:
        return self.prices.of(self.prompt_tokens, self.completion_tokens)

    @contextmanager
    def reserve(self, prompt_tokens: int, completion_tokens: int) -> Iterator[None]:
        """Hold back the most that a request may cost, waiting for others to cost less than they might.

        Raises :class:`StoppedError` if it may cost more than is left.
        """
        cost = self.prices.of(prompt_tokens, completion_tokens)
        with self._lock:
            while self.most is not None and self.cost + self.reserved + cost > self.most:
                if self.reserved == 0.0:
                    raise StoppedError(
                        f"--max-cost {self.most:g} might be passed: {self.cost:.4f} is spent, the next one may cost "
                        f"{cost:.4f}; raise it and run the same command again, nothing is paid for twice."
                    )
                self._lock.wait()
            self.reserved += cost
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self.reserved = self.reserved - cost if self._under_way else 0.0  # no rest of rounding
                self._lock.notify_all()

    def add(self, answer: Answer) -> None:
        with self._lock:
            if answer.paid:
                self.requests += 1
                self.prompt_tokens += answer.prompt_tokens
                self.completion_tokens += answer.completion_tokens
            else:
                self.from_disk += 1

    def __str__(self) -> str:
        text = (
            f"{self.requests} requests ({self.from_disk} more answered from disk), {self.prompt_tokens} tokens in, "
            f"{self.completion_tokens} out"
        )
        priced = self.prices.per_million_in or self.prices.per_million_out
        return f"{text}, cost {self.cost:.4f}" if priced else text


def tokens_in(messages: Iterable[Message]) -> int:
    """About how many tokens messages have, rather too many."""
    total = 0.0
    for message in messages:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            total += len(part["text"]) / CHARACTERS_PER_TOKEN if part["type"] == "text" else TOKENS_PER_IMAGE
        total += 8
    return math.ceil(total)


class Answers:
    """Answers on disk, by the hash of what was asked; the questions themselves are not kept. Safe against kill -9."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, timeout=60)
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
            self._db.commit()
        except sqlite3.Error as error:
            raise ReportError(f"{path}: no cache of answers ({error}); name another --cache or remove it.") from None

    def get(self, key: str) -> dict[str, Any] | None:
        with self._lock:
            row = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Returns when the answer is on the disk."""
        with self._lock, self._db:
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(answer)))

    def close(self) -> None:
        self._db.close()


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    """What is read of an endpoint's answer; whatever else it says is left alone."""

    model_config = ConfigDict(extra="ignore")

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def endpoint_client(base_url: str, *, timeout: float, retries: int) -> openai.OpenAI:
    """The ``openai`` client for an endpoint; the key is ``OPENAI_API_KEY`` of the environment.

    It follows no redirection, and for this machine uses no proxy: reports go to the host that was warned of, or
    nowhere. Raises :class:`ReportError` if another machine's endpoint is named and there is no key.
    """
    host_of(base_url)
    local = is_this_machine(base_url)
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key and not local:
        raise ReportError(f"{host_of(base_url)} needs a key; set the environment variable OPENAI_API_KEY.")
    return openai.OpenAI(
        base_url=base_url,
        api_key=key or "none",
        timeout=timeout,
        max_retries=retries,
        http_client=openai.DefaultHttpxClient(
            follow_redirects=False, trust_env=not local, event_hooks={"response": [_own_up_to_bad_requests]}
        ),
    )


def _own_up_to_bad_requests(response: Any) -> None:
    """Some servers (llama-cpp-python) answer 500 to a form of output that they do not know: no reason to try again."""
    if response.status_code >= 500 and b"response_format" in response.read():
        response.status_code = 400


class ChatModel:
    """A model at an endpoint. ``complete`` may be called from several threads.

    ``answers``: where answers are kept; every answer is there before it is returned.
    """

    def __init__(
        self,
        client: openai.OpenAI,
        model: str,
        answers: Answers,
        spending: Spending,
        *,
        max_tokens: int = 1024,
        temperature: float | None = None,
    ) -> None:
        self.name = model
        self.spending = spending
        self._client = client
        self._answers = answers
        self._url = str(client.base_url)
        self._host = host_of(self._url)
        self._sampling: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        # OpenAI's own models have another name for it, which others do not all know
        limit = "max_completion_tokens" if self._host == host_of(OPENAI_URL) else "max_tokens"
        self._sampling[limit] = max_tokens
        self._max_tokens = max_tokens
        self._form = FORMS[0]

    def complete(self, messages: list[Message], schema: type[BaseModel], attempt: int = 0) -> Answer:
        """The model's answer, from disk where this was asked before; ``attempt`` tells repeated questions apart.

        Raises :class:`StoppedError` if the endpoint does not answer after all retries or the money is spent, and
        :class:`RefusedError` if it refuses this request.
        """
        shape = schema.model_json_schema()
        asked = [self._url, self.name, messages, shape, self._sampling, attempt]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        known = self._answers.get(key)
        if known is not None:
            answer = Answer(**known, paid=False)
            self.spending.add(answer)
            return answer
        with self.spending.reserve(tokens_in(messages), self._max_tokens):
            answer = self._ask(messages, schema.__name__, shape)
            if answer.prompt_tokens:
                self._answers.put(key, {k: v for k, v in answer._asdict().items() if k != "paid"})
            self.spending.add(answer)
        return answer

    def _ask(self, messages: list[Message], name: str, shape: dict[str, Any]) -> Answer:
        """In the richest form of structured output that the endpoint has; the one that worked is used from then on."""
        forms = FORMS[FORMS.index(self._form) :]
        for form in forms:
            try:
                answer = self._send(messages, _response_format(form, name, shape))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if form == FORMS[-1]:
                    raise RefusedError(_reason(error)) from None
                continue
            if form != self._form:
                _log.info("%s has no %s; using %s", self._host, self._form, form)
                self._form = form
            return answer
        raise AssertionError(forms)

    def _send(self, messages: list[Message], form: dict[str, Any]) -> Answer:
        try:
            raw = self._client.chat.completions.with_raw_response.create(
                model=self.name,
                messages=messages,  # type: ignore[arg-type]
                **form,
                **self._sampling,
            )
            return _read_completion(raw.text, tokens_in(messages))
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            raise
        except openai.APIError as error:
            raise StoppedError(
                f"{self._host} gives no answer ({_reason(error)}); what was answered is kept: "
                "run the same command again."
            ) from None


def _read_completion(body: str, prompt_tokens: int) -> Answer:
    """What of an endpoint's body is the model's text; without any, an empty, unfinished answer that used no token."""
    try:
        completion = _Completion.model_validate_json(body)
    except ValidationError:
        return Answer("", False, 0, 0, True)
    choice = completion.choices[0]
    text = choice.message.content or ""
    usage = completion.usage or _Usage(
        prompt_tokens=prompt_tokens, completion_tokens=math.ceil(len(text) / CHARACTERS_PER_TOKEN)
    )
    whole = choice.finish_reason not in ("length", "content_filter")
    return Answer(text, whole, usage.prompt_tokens, usage.completion_tokens, True)


def _response_format(form: str, name: str, shape: dict[str, Any]) -> dict[str, Any]:
    if form == "json_schema":
        wanted = {"name": name, "schema": shape, "strict": True}
        return {"response_format": {"type": form, "json_schema": wanted}}
    return {"response_format": {"type": form}} if form == "json_object" else {}


def _reason(error: openai.APIError) -> str:
    """One line of what went wrong, without what was sent."""
    if isinstance(error, openai.APIStatusError):
        return f"status {error.status_code}: {' '.join(str(error.message).split())[:200]}"
    return f"{type(error).__name__}: {' '.join(str(error.message).split())[:200]}"


def ordered(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """``map(work, items)`` in a pool, in order, with at most ``ahead`` items taken in advance.

    When one fails, those under way are finished and no further one is begun.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
