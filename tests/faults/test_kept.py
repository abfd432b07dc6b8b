"""A connection that is kept open may be gone when the next call wants it: nothing goes twice."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from adapters.http import Client, Site, get, write_json
from kmtool.clock import SystemClock
from kmtool.errors import Unknown
from tests.faults.doors import RESET, Doors

WRITE = write_json("POST", "/notes", {"text": "a key"})
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Keeper(Doors):
    """Answers one request per connection, keeps it open, and then ends it as it is told to."""

    def __init__(self, end: str) -> None:
        self.end = end
        self.writes = 0
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(1)
        if not self._answer(connection):
            return
        if self.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if self.end == "deaf":  # somebody on the way has forgotten the connection
            connection.recv(65536)
            connection.recv(65536)

    def _answer(self, connection: socket.socket) -> bool:
        came = connection.recv(65536)
        if b"POST" in came and not came.endswith(b"}"):
            came += connection.recv(65536)
        self.writes += came.startswith(b"POST")
        connection.sendall(REPLY)
        return bool(came)


@pytest.fixture(params=["closed", "reset", "deaf"])
def keeper(request: pytest.FixtureRequest) -> Iterator[Keeper]:
    one = Keeper(request.param)
    yield one
    one.close()


def test_a_write_on_a_connection_that_is_gone_goes_once(keeper: Keeper) -> None:
    site = Site(who="it", base=f"http://127.0.0.1:{keeper.port}", clock=SystemClock(), read_s=0.5)
    client = Client(site)
    client.send(get("/orders"))
    if keeper.end != "deaf":
        keeper.settle()  # its end of the connection is over
        assert client.send(WRITE).status == 200
        assert keeper.writes == 1
    else:
        with pytest.raises(Unknown):
            client.send(WRITE)
        assert keeper.writes == 0
    client.close()
