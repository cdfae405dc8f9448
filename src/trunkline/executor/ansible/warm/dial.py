"""ssh's ProxyCommand inside an untrusted sandbox: `dial.py HOST PORT` over the broker's socket.

The broker answers one byte, `+` or `-`; then bytes pass unchanged both ways.
"""

import os
import select
import socket
import sys


def main():
    host, port = sys.argv[1:3]
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect("/run/trunkline/broker")
        sock.sendall(f"{host} {port}\n".encode())
        answer = sock.recv(1)
    except OSError as error:
        sys.exit(f"no way to {host} port {port}: {error}")
    if answer != b"+":
        sys.exit(f"no way to {host} port {port} from here: it is no node of this build")
    splice(sock)


def splice(sock):
    poller = select.poll()
    poller.register(0, select.POLLIN)
    poller.register(sock, select.POLLIN)
    while True:
        for descriptor, _event in poller.poll():
            if descriptor == 0:
                chunk = os.read(0, 65536)
                if chunk:
                    sock.sendall(chunk)
                else:
                    poller.unregister(0)
                    sock.shutdown(socket.SHUT_WR)
            else:
                chunk = sock.recv(65536)
                if not chunk:
                    return
                while chunk:
                    chunk = chunk[os.write(1, chunk) :]


if __name__ == "__main__":
    main()
