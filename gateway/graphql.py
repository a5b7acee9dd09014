"""Which GraphQL operations a request to Dagster's UI contains. What cannot be read is refused."""

from __future__ import annotations

import json
from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import QueryParams

from gateway.errors import Problem

_MOST_TOKENS = 20_000


def posted(body: bytes, content_type: str) -> dict[str, Any]:
    """The operation of a POST request. Raises `Problem`: 415, or 400 for batches and what is no JSON."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "Send GraphQL operations as application/json.")
    return _operation(_json(body))


def in_address(query: QueryParams) -> dict[str, Any] | None:
    """The operation in the address of a GET request, which only reads. None: it has none. Raises `Problem`."""
    if not query:
        return None
    if any(len(query.getlist(name)) > 1 for name in query):
        raise Problem(400, "A parameter is there more than once.")
    variables = query.get("variables")
    found = {**dict(query), **({"variables": _json(variables.encode())} if variables else {})}
    operation = _operation(found)
    if changes(operation["query"]):
        raise Problem(405, "A GET request changes nothing: send mutations by POST.", headers={"Allow": "POST"})
    return operation


def message_of(text: str) -> dict[str, Any]:
    """A message of a WebSocket. Raises `Problem`."""
    message = _json(text.encode())
    if not isinstance(message, dict):
        raise Problem(400, "A message is one JSON object.")
    if "payload" in message and message.get("type") in ("start", "subscribe"):
        payload = message["payload"]
        # Dagster reads `operation_name` here.
        more = {"operation_name": payload["operation_name"]} if "operation_name" in payload else {}
        message["payload"] = {**_operation(payload), **more}
    return message


def changes(query: str) -> bool:
    """Whether any operation of the document is a mutation. Raises `Problem`."""
    try:
        document = parse(query, max_tokens=_MOST_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise Problem(400, f"The GraphQL document cannot be read: {str(error)[:200]}") from error
    return any(
        isinstance(node, OperationDefinitionNode) and node.operation is OperationType.MUTATION
        for node in document.definitions
    )


def _operation(found: Any) -> dict[str, Any]:
    """Only what Dagster reads, and only if it is of the expected type."""
    if not isinstance(found, dict):
        raise Problem(400, "Send one GraphQL operation as a JSON object; batches are not supported.")
    query, variables, name = found.get("query"), found.get("variables"), found.get("operationName")
    if not isinstance(query, str) or not isinstance(variables, dict | None) or not isinstance(name, str | None):
        raise Problem(400, "A GraphQL operation has a query (text), and may have variables (object) and operationName.")
    return {"query": query, "variables": variables, "operationName": name}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "This is no JSON.") from error
