"""An SMTP server on loopback that goes wrong at the step it is told to (RFC 5321, one mail a time).

Steps: greeting, ehlo, mail, rcpt, data (the answer to DATA), text (the final reply), quit.
A fault is a reply line, or "drop" (hang up instead of answering), "hang" (never answer) or "half"
(hang up in the middle of the reply). At `text` the mail counts as taken only by a 250.
"""

from __future__ import annotations

import socket
import threading


class SmtpPeer:
    """The server. `taken` are the mails it answers for; `texts` all texts that reached it."""

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self.taken: list[bytes] = []
        self.texts: list[bytes] = []
        self.lines: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.done.set()
        # Wakes the thread that waits in accept().
        with socket.create_connection(("127.0.0.1", self.port), 2):
            pass
        self.thread.join(5)
        self.listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                if self.done.is_set():
                    return
                connection.settimeout(5)
                try:
                    self._talk(connection)
                except (OSError, _HangUp):
                    continue

    def _talk(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        with reader:
            self._say(connection, "greeting", "220 mail.example.test ready")
            while line := reader.readline():
                self.lines.append(line.decode().strip())
                word = line.split()[0].decode().lower() if line.split() else ""
                if word == "data":
                    self._say(connection, "data", "354 go on")
                    if not self.faults.get("data", "354").startswith("354"):
                        continue
                    self._text(connection, b"".join(iter(reader.readline, b".\r\n")))
                elif word == "quit":
                    self._say(connection, "quit", "221 bye")
                    return
                else:
                    self._say(connection, word, "250 2.1.0 fine")

    def _text(self, connection: socket.socket, text: bytes) -> None:
        self.texts.append(text)
        fault = self.faults.get("text", "250")
        if fault.startswith("250") or fault in ("lost", "half"):
            self.taken.append(text)
        self._say(connection, "text", "250 2.0.0 queued as 7Q for b@example.test")

    def _say(self, connection: socket.socket, step: str, usual: str) -> None:
        fault = self.faults.get(step)
        if fault in ("drop", "lost"):
            raise _HangUp
        if fault == "hang":
            while connection.recv(4096):  # until the other side gives up
                pass
            raise _HangUp
        if fault == "half":
            connection.sendall(usual[:2].encode())
            raise _HangUp
        connection.sendall((fault or usual).encode() + b"\r\n")


class _HangUp(Exception):
    """The script says to hang up."""
