"""A VNC viewer (RFC 6143), as far as a test needs one."""

import socket
import struct


class Viewer:
    def __init__(self, port: int) -> None:
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.stream.settimeout(60)
        assert self.read(12) == b"RFB 003.008\n"
        self.stream.sendall(b"RFB 003.008\n")
        assert 1 in self.read(self.read(1)[0])  # no password
        self.stream.sendall(b"\x01")
        assert self.read(4) == bytes(4)
        self.stream.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.read(16)
        self.name = self.read(struct.unpack(">I", self.read(4))[0]).decode()
        # 32 bits a pixel: red, green and blue from the lowest byte up; raw.
        self.stream.sendall(struct.pack(">B3x4B3H3B3x", 0, 32, 24, 0, 1, 255, 255, 255, 0, 8, 16))
        self.stream.sendall(struct.pack(">BxHi", 2, 1, 0))

    def read(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            data = self.stream.recv(length - len(found))
            if not data:
                raise EOFError
            found += data
        return found

    def pixel(self, x: int, y: int) -> tuple[int, ...]:
        self.stream.sendall(struct.pack(">BB4H", 3, 0, x, y, 1, 1))
        found: tuple[int, ...] | None = None
        while found is None:
            kind = self.read(1)[0]
            if kind != 0:
                assert kind == 2  # a bell
                continue
            _, rectangles = struct.unpack(">BH", self.read(3))
            for _ in range(rectangles):
                left, top, width, height, encoding = struct.unpack(">4Hi", self.read(12))
                assert encoding == 0, (encoding, left, top, width, height)
                pixels = self.read(4 * width * height)
                if left <= x < left + width and top <= y < top + height:
                    found = tuple(pixels[4 * ((y - top) * width + x - left) :][:3])
        return found

    def click(self, x: int, y: int) -> None:
        for buttons in (0, 1, 0):
            self.stream.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def close(self) -> None:
        self.stream.close()
