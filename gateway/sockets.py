"""The WebSockets of the service: what waits for a slow client is bounded, and is dropped with it."""

from __future__ import annotations

import socket
from asyncio import BaseTransport, Transport
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

SEND_BUFFER_BYTES = 32 << 10
"""In the kernel, which doubles it; by itself it would take up to 4 MB, which is 17 minutes of audio."""
WRITE_BUFFER_BYTES = 32 << 10
CLOSE_S = 10.0
"""How long a client has to take what waits for it after the connection was closed."""


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """`send` waits when about 100 kB wait for the client. `close` does not wait."""

    def connection_made(self, transport: BaseTransport) -> None:
        own = transport.get_extra_info("socket")
        if own is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        cast("Transport", transport).set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        super().connection_made(transport)

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close" and not self.disconnected:
            self.writable.set()
            # Closing a transport waits for its buffer, and a client that takes nothing would keep it for ever.
            self.loop.call_later(CLOSE_S, self.transport.abort)
        await super().send(message)


OPTIONS: dict[str, Any] = {
    "ws": BoundedWebSocket,
    "ws_max_size": 1 << 20,
    # Opus is compressed already, and each compressor would take as much memory as a listener.
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 60.0,
}
"""For uvicorn. A client that takes nothing is dropped by what sends to it; the ping finds those that are gone."""
