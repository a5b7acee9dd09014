"""What the clients of both servers share: requests that are answered with JSON, whatever their content type says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speech.errors import HeadServiceFailed, NetworkError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
_SHOWN_CHARACTERS = 200


def client(timeout_s: float) -> httpx.Client:
    import httpx

    return httpx.Client(timeout=httpx.Timeout(timeout_s, connect=CONNECT_S), trust_env=False)


def asked(http: httpx.Client, method: str, url: str, **content: Any) -> httpx.Response:
    """An answer of status 200. Raises `NetworkError` or `HeadServiceFailed`."""
    import httpx

    try:
        response = http.request(method, url, **content)
    except httpx.HTTPError as error:
        raise NetworkError(
            f"{url} gave no complete answer ({type(error).__name__}: {error}). Is it running?"
        ) from error
    if response.status_code != 200:
        raise HeadServiceFailed(f"{url} answered {response.status_code}: {shown(response.text)}")
    return response


def not_answering(url: str) -> str | None:
    """Why the server at this address does not answer yet; None: it answers, whatever it says."""
    import httpx

    try:
        with client(CONNECT_S) as http:
            http.get(url)
    except httpx.HTTPError as error:
        return f"{url} gives no answer ({type(error).__name__})"
    return None


def json_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises `HeadServiceFailed` for anything else."""
    try:
        found = response.json()
    except ValueError as error:
        raise HeadServiceFailed(f"{response.url} answered with no JSON: {shown(response.text)}") from error
    if not isinstance(found, dict):
        raise HeadServiceFailed(f"{response.url} answered with no object: {shown(response.text)}")
    return found


def code_of(answer: dict[str, Any]) -> int | None:
    """The number that decides. `success` and `msg` do not: a server that is busy says success."""
    try:
        return int(answer.get("code", ""))
    except (TypeError, ValueError):
        return None


def shown(text: str) -> str:
    readable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(readable.split())[:_SHOWN_CHARACTERS] or "nothing"
