"""WebSockets of uvicorn, for clients that send pings and read no pongs."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class SocketProtocol(WebSocketsSansIOProtocol):
    """Reads nothing more of a client while the pongs that it is owed wait to be sent.

    uvicorn stops reading for messages that wait for the application, not for pings, each of which it answers at once
    (RFC 6455, section 5.5.2): a client that reads none of that would fill the memory, before it says who it is.
    """

    def handle_ping(self) -> None:
        """Answer a ping."""
        super().handle_ping()
        if not self.writable.is_set():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on, also with reading, unless a message waits for the application."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()
