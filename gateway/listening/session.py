"""One listener's WebSocket: `stream_metadata`, the header, clusters at a pace, and one `stream_end` or one `error`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.limits import Rate
from gateway.listening import messages
from gateway.listening.messages import MOST_CHARACTERS, Control, StreamFailed, control_of
from gateway.listening.metrics import ListeningMetrics
from gateway.listening.pace import Pace
from gateway.listening.recordings import Recording
from speech.errors import PodlakeError
from speech.webm import CLUSTER_MS, webm_header

SLOW, REPLACED, TOO_LARGE, TOO_MANY = 1013, 4001, 1009, 1008
"""Codes with which the server closes: try again later; the token is used elsewhere; message too big; policy."""
SEND_S = 10.0
"""A listener whose connection takes nothing for so long is dropped."""
PAUSED_S = 1_800.0
LONGEST_S = 3_600.0
"""A connection ends after this time; the listener connects again, and has to be authorized still."""
MESSAGES_PER_MINUTE = 3_000
_MOST_REPORTS = 1_000
log = logging.getLogger("podlake")


@dataclass
class Session:
    """A connection that is accepted. `run` returns when it is over."""

    socket: WebSocket
    recording: Recording
    from_ms: int
    metrics: ListeningMetrics
    pace: Pace = field(default_factory=Pace)
    send_s: float = SEND_S
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the token is used by another connection."""
    _playing: asyncio.Event = field(default_factory=asyncio.Event)
    _n_reports: int = 0
    _end_ms: int = 0

    async def run(self) -> None:
        """Raises nothing: what happens to a connection is counted and, where it can be, told to the listener."""
        self._playing.set()
        self.metrics.listeners.inc()
        outcome = "error"
        try:
            outcome = await self._conversation()
        finally:
            self.metrics.listeners.dec()
            self.metrics.connections.labels(outcome).inc()

    async def _conversation(self) -> str:
        """How the connection ended."""
        sending, reading = asyncio.create_task(self._send_all()), asyncio.create_task(self._read_all())
        leaving = asyncio.create_task(self.replaced.wait())
        tasks = (sending, reading, leaving)
        try:
            await asyncio.wait(tasks, timeout=LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if leaving in (done := [task for task in tasks if task.done() and not task.cancelled()]):
            failed = StreamFailed("replaced", "Another connection uses this token.")
            return await self._end(messages.error(failed), REPLACED, "replaced")
        if sending in done:
            return await self._after_sending(sending.exception())
        if reading in done:
            if (error := reading.exception()) is not None:  # in an answer to a request
                return await self._after_sending(error)
            code = reading.result()
            return "left" if code is None else await self._close(code, "refused")
        failed = StreamFailed("connect_again", "The connection is an hour old. Connect again.", is_retryable=True)
        return await self._end(messages.error(failed), 1000, "error")

    async def _after_sending(self, error: BaseException | None) -> str:
        if error is None:
            return await self._end(messages.stream_end(self._end_ms), 1000, "ended")
        if isinstance(error, TimeoutError):
            return await self._close(SLOW, "slow")
        if isinstance(error, (WebSocketDisconnect, RuntimeError)):
            return "left"
        if not isinstance(error, StreamFailed):
            if not isinstance(error, (PodlakeError, OSError)):
                log.error("%s cannot be streamed", self.recording.key, exc_info=error)
            error = StreamFailed("unreadable", f"The audio of {self.recording.key} cannot be read.")
        return await self._end(messages.error(error), 1000, "error")

    async def _send_all(self) -> None:
        """Raises `StreamFailed`, TimeoutError for a slow listener, WebSocketDisconnect."""
        begun_s, passage_idx = time.monotonic(), 0
        await self._say(messages.metadata(self.recording, self.from_ms))
        await self._send(webm_header())
        async for cluster in self.recording.clusters(self.from_ms):
            await self._until_due()
            passages = self.recording.passages
            while passage_idx < len(passages) and passages[passage_idx].start_ms < cluster.start_ms + CLUSTER_MS:
                if passages[passage_idx].end_ms > self.from_ms:
                    await self._say(messages.passage_message(passages[passage_idx]))
                passage_idx += 1
            await self._send(cluster.content)
            if not self._end_ms:
                self.metrics.first_audio_seconds.observe(time.monotonic() - begun_s)
            self._end_ms = cluster.start_ms + CLUSTER_MS
            self.metrics.audio_seconds.inc(CLUSTER_MS / 1000)
            self.pace.sent(CLUSTER_MS, time.monotonic())

    async def _until_due(self) -> None:
        """Wait as the pace asks for, and while the listener has paused."""
        while True:
            if not self._playing.is_set():
                try:
                    async with asyncio.timeout(PAUSED_S):
                        await self._playing.wait()
                except TimeoutError as error:
                    raise StreamFailed("paused_too_long", "Connect again to go on.", is_retryable=True) from error
            wait_s = self.pace.wait_s(CLUSTER_MS, time.monotonic())
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    async def _read_all(self) -> int | None:
        """Until the listener leaves; or the code with which to close, for one who breaks the rules."""
        rate = Rate(MESSAGES_PER_MINUTE)
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            text = message.get("text")
            if len(text if text is not None else message.get("bytes") or b"") > MOST_CHARACTERS:
                return TOO_LARGE
            rate.count("")
            if rate.is_spent(""):
                return TOO_MANY
            control = None if text is None else control_of(text)
            if control is None:
                self.metrics.malformed.inc()
            else:
                await self._take(control)

    async def _take(self, control: Control) -> None:
        if control.event == "pause":
            self._playing.clear()
            self.pace.hold(time.monotonic())
            await self._say({"type": "paused"})
        elif control.event == "resume":
            self.pace.resume(time.monotonic())
            self._playing.set()
            await self._say({"type": "resumed"})
        elif self._n_reports < _MOST_REPORTS:
            self._n_reports += 1
            if control.event == "started":
                self.metrics.player_start_seconds.observe(control.after_ms / 1000)
            else:
                self.metrics.rebuffers.inc()

    async def _say(self, message: Mapping[str, object]) -> None:
        async with asyncio.timeout(self.send_s):
            await self.socket.send_text(json.dumps(message, ensure_ascii=False))

    async def _send(self, content: bytes) -> None:
        async with asyncio.timeout(self.send_s):
            await self.socket.send_bytes(content)

    async def _end(self, message: Mapping[str, object], code: int, outcome: str) -> str:
        """The last message, then the end of the connection."""
        try:
            await self._say(message)
        except (TimeoutError, RuntimeError, WebSocketDisconnect):
            return await self._close(SLOW, outcome)
        return await self._close(code, outcome)

    async def _close(self, code: int, outcome: str) -> str:
        with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(self.send_s):
                await self.socket.close(code)
        return outcome
