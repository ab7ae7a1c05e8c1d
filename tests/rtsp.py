"""A camera for tests: an RTSP server (RFC 2326) whose sound comes as RTP within the connection, at its own pace."""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

PACKET_S = 0.02
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=ward\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/{rate}/1\r\na=control:track1\r\n"
)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


class Camera:
    """Serves (frames,) int16 over and over on the loopback; a context manager."""

    def __init__(self, sound: NDArray[np.int16], rate_hz: int) -> None:
        self.sound, self.rate_hz = sound, rate_hz
        self.viewers = 0
        self.hang_up = threading.Event()
        """Ends the connections that there are."""
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                camera.serve(self)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"rtsp://127.0.0.1:{self._server.server_address[1]}/ward"

    def __enter__(self) -> Camera:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.hang_up.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, connection: socketserver.StreamRequestHandler) -> None:
        """Answer until the viewer wants to see, then send."""
        while request := connection.rfile.readline().decode().split():
            headers = dict(iter(lambda: _header(connection), ("", "")))
            answer, body = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n", ""
            if request[0] == "OPTIONS":
                answer += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif request[0] == "DESCRIBE":
                body = _SDP.format(rate=self.rate_hz)
                answer += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif request[0] == "SETUP":
                assert "RTP/AVP/TCP" in headers["transport"], "over UDP packets would be lost without a word"
                answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            else:
                answer += "Session: 1\r\n"
            connection.wfile.write(f"{answer}\r\n{body}".encode())
            if request[0] == "PLAY":
                self._send(connection)
                return

    def _send(self, connection: socketserver.StreamRequestHandler) -> None:
        self.viewers += 1
        frames = round(PACKET_S * self.rate_hz)
        begun, number = time.monotonic(), 0
        try:
            while not self.hang_up.wait(max(0.0, begun + number * PACKET_S - time.monotonic())):
                at = number * frames % len(self.sound)
                header = struct.pack(">BBHII", 0x80, 97, number % 65_536, number * frames % 2**32, 1)
                packet = header + self.sound[at : at + frames].astype(">i2").tobytes()
                connection.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                number += 1
        except OSError:
            pass  # the viewer has left


def _header(connection: socketserver.StreamRequestHandler) -> tuple[str, str]:
    name, _, value = connection.rfile.readline().decode().strip().partition(":")
    return name.lower(), value.strip()
