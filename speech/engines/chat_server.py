"""Chat models behind HTTP: Ollama's API and OpenAI's, which many servers have. One question, one answer of text.

Errors of the connection and the server are tried again here, with pauses. What the answer says is for the caller to judge.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from speech.engines.speech_server import raise_for
from speech.errors import LONGEST_WAIT_S, EngineUnavailable, HttpServerError, NetworkError, PodlakeError, policy_of

if TYPE_CHECKING:
    import httpx

Dialect = Literal["ollama", "openai"]
CONNECT_S = 10.0
TRIES = 5
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
_SHOWN_CHARACTERS = 200


class BadAnswer(Exception):
    """The model answered, but not with what was asked for. Asking again may help."""


@dataclass(frozen=True)
class Message:
    """A part of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatServer:
    """A model at a server."""

    url: str
    dialect: Dialect
    model: str
    api_key: str = ""
    timeout_s: float = 300.0
    context_tokens: int = 8_192
    """Ollama cuts longer prompts without a word; its own default depends on the GPU."""
    sends_schema: bool = True
    """Whether the schema of the answer is sent; some servers with OpenAI's API refuse it."""
    pause: Callable[[float], None] = field(default=time.sleep, compare=False, repr=False)
    """Waits so many seconds before another try."""
    _clients: list[httpx.Client] = field(default_factory=list, compare=False, repr=False)
    """The connection, once there is one."""

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise EngineUnavailable(
                f"The translator {self.dialect} needs the address of its server: "
                f"PODLAKE_TRANSLATOR={self.dialect}:http://127.0.0.1:11434?model=qwen2.5:14b"
            )

    def ask(self, messages: Sequence[Message], schema: Mapping[str, Any], *, temperature: float, seed: int) -> str:
        """The text of the answer. Raises `BadAnswer`, or the `PodlakeError` of the last of five tries."""
        content = self._content(messages, schema, temperature, seed)
        for attempt in range(1, TRIES + 1):
            try:
                return self._text(self._answer(content))
            except PodlakeError as error:
                wait_s = max(2.0 ** (attempt - 1), error.retry_after_s or 0.0)
                if attempt == TRIES or wait_s > LONGEST_WAIT_S or not policy_of(error.error_class).retryable:
                    raise
                self.pause(wait_s)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def _content(
        self, messages: Sequence[Message], schema: Mapping[str, Any], temperature: float, seed: int
    ) -> dict[str, Any]:
        said = [{"role": one.role, "content": one.content} for one in messages]
        if self.dialect == "ollama":
            options = {"num_ctx": self.context_tokens, "temperature": temperature, "seed": seed}
            return {
                "model": self.model, "messages": said, "stream": False, "keep_alive": "5m", "options": options,
                "format": schema if self.sends_schema else "json",
            }  # fmt: skip
        wanted: dict[str, Any] = {"type": "json_object"}
        if self.sends_schema:
            wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        return {
            "model": self.model, "messages": said, "temperature": temperature, "seed": seed, "response_format": wanted,
        }  # fmt: skip

    def _answer(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the server answers, as JSON. An error in an answer of status 200 is one of the server."""
        import httpx

        if not self._clients:
            headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
            timeout = httpx.Timeout(self.timeout_s, connect=CONNECT_S)
            self._clients.append(httpx.Client(timeout=timeout, headers=headers, trust_env=False))
        url = self._endpoint()
        try:
            response = self._clients[0].post(url, json=content)
        except httpx.HTTPError as error:
            raise NetworkError(
                f"The chat server {self.url} gave no complete answer ({type(error).__name__}: {error}). Is it running?"
            ) from error
        raise_for(response, url)
        try:
            answer = response.json()
        except ValueError as error:
            raise HttpServerError(f"{url} answered with something that is no JSON: {_shown(response.text)}") from error
        if not isinstance(answer, dict) or answer.get("error"):
            raise HttpServerError(f"{url} answered with an error: {_shown(response.text)}")
        return answer

    def _endpoint(self) -> str:
        url = self.url.rstrip("/")
        if self.dialect == "ollama":
            return f"{url.removesuffix('/api')}/api/chat"
        return f"{url if re.search(r'/v[0-9]+$', url) else f'{url}/v1'}/chat/completions"

    def _text(self, answer: Mapping[str, Any]) -> str:
        """The text, without what a model has thought before it. Raises `BadAnswer` if it is empty or was cut off."""
        choices = answer.get("choices") or [{}]
        found = answer if self.dialect == "ollama" else choices[0]
        reason = found.get("done_reason" if self.dialect == "ollama" else "finish_reason")
        if reason in ("length", "content_filter"):
            raise BadAnswer(f"The answer ends early ({reason}).")
        text = str((found.get("message") or {}).get("content") or "")
        text = _THOUGHTS.sub("", text).strip()
        if not text:
            raise BadAnswer("The answer is empty.")
        return text


def _shown(text: str) -> str:
    return " ".join(text.split())[:_SHOWN_CHARACTERS] or "nothing"
