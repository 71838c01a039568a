"""`python -m healthcheck.monitoring.relay`: its input and output as a connection to the watcher, for `docker exec`.

The standard library alone, and no import of ours: one runs for each connection.
"""

import os
import socket
import sys
import threading

CHUNK = 65536


def _inward(connection: socket.socket) -> None:
    while data := os.read(0, CHUNK):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def main(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        threading.Thread(target=_inward, args=(connection,), daemon=True).start()
        while data := connection.recv(CHUNK):
            os.write(1, data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
