"""A shop on loopback that answers at once: kept connections, no signature, no delay.

    python -m bench.loopback_server        (prints its port; ends with its standard input)

It counts what it was told: `GET /counts` returns messages, orders with a message, orders shipped.
"""

from __future__ import annotations

import asyncio
import json
import sys

MESSAGES: dict[str, int] = {}
SHIPPED: set[str] = set()


class Answers(asyncio.Protocol):
    """One connection: requests with Content-Length, answered in their order."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that is there."""
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, path: str) -> None:
        body = b'{"code":0}'
        parts = path.split("/")
        if path == "/counts":
            body = json.dumps([sum(MESSAGES.values()), len(MESSAGES), len(SHIPPED)]).encode()
        elif parts[-1] == "messages":
            MESSAGES[parts[-2]] = MESSAGES.get(parts[-2], 0) + 1
        elif parts[-1] == "ship":
            SHIPPED.add(parts[-2])
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


async def serve() -> None:
    """Listen on a free port until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
