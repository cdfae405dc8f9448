#!/usr/bin/python
"""The console of a node: a small daemon that shows, over TCP, what running commands print."""

import contextlib
import glob
import os
import select
import signal
import socket
import sys
import threading

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: zuul_console
short_description: Serves the output of running commands to the executor
options:
  path:
    description: Where the files are; {log_uuid} stands for the id.
    default: "/tmp/console-{log_uuid}.log"
    type: str
  port:
    description: The TCP port.
    default: 19885
    type: int
  state:
    description: present starts the daemon, absent stops it and removes the files.
    choices: [present, absent]
    default: present
    type: str
author:
  - Trunkline
"""

FOLLOW_S = 0.05
LONGEST_REQUEST = 1024
MISSING = b"[Zuul] Log not found\n"
IDLE_LIMIT_S = 24 * 3600


def own_address():
    """The address by which the executor came, or None: then every address is listened on."""
    parts = os.environ.get("SSH_CONNECTION", "").split()
    return parts[2] if len(parts) == 4 else None


def listen(port):
    address = own_address()
    tries = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address)] if address else []
    tries += [(socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")]
    problem = None
    for family, host in tries:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(64)
            return sock, host
        except OSError as error:
            sock.close()
            problem = error
            if getattr(error, "errno", None) == 98:
                break
    raise problem


class Conversation(threading.Thread):
    """One connection: `v:N`, `s:ID`, `f:ID`, or a bare ID. What is not understood is not answered."""

    def __init__(self, sock, path):
        super().__init__()
        self.daemon = True
        self.sock, self.path = sock, path

    def run(self):
        try:
            while self.answer(self.request()):
                pass
        except (OSError, EOFError):
            pass
        finally:
            self.sock.close()

    def request(self):
        data = b""
        while not data.endswith(b"\n"):
            part = self.sock.recv(1)
            if not part:
                raise EOFError()
            data += part
            if len(data) > LONGEST_REQUEST:
                return None
        return data.strip().decode("utf-8", "replace")

    def answer(self, request):
        if not request:
            self.sock.recv(1)
            return request is not None
        if request.startswith("v:"):
            self.sock.sendall(b"1\n")
        elif request.startswith("s:"):
            self.follow(request[2:])
            return False
        elif request.startswith("f:"):
            with contextlib.suppress(OSError):
                os.unlink(self.file_of(request[2:]))
        else:
            self.follow(request)
            return False
        return True

    def file_of(self, log_id):
        return self.path.replace("{log_uuid}", os.path.basename(log_id))

    def follow(self, log_id):
        name = self.file_of(log_id)
        while not os.path.exists(name):
            self.sock.sendall(MISSING)
            if self.gone(0.5):
                return
        with open(name, "rb") as handle:
            while True:
                chunk = handle.read(65536)
                if chunk:
                    self.sock.sendall(chunk)
                    if b"[Zuul] Task exit code" in chunk[-200:]:
                        self.gone(30)
                        return
                elif self.gone(FOLLOW_S):
                    return

    def gone(self, wait_s):
        """Whether the other side has closed, looking for at most `wait_s`."""
        readable, _writable, _broken = select.select([self.sock], [], [], wait_s)
        return bool(readable) and not self.sock.recv(1024, socket.MSG_PEEK)


def serve(sock, path):
    while True:
        readable, _writable, _broken = select.select([sock], [], [], IDLE_LIMIT_S)
        if not readable:
            return
        connection, _address = sock.accept()
        Conversation(connection, path).start()


def pid_file(host, port):
    return f"/tmp/.zuul-console-{host.replace(':', '_')}-{port}.pid"


def daemonise(sock, host, port, path):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    with open(pid_file(host, port), "w") as handle:
        handle.write(f"{os.getpid()}\n")
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for descriptor in range(3, 256):
        if descriptor != sock.fileno():
            with contextlib.suppress(OSError):
                os.close(descriptor)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    try:
        serve(sock, path)
    finally:
        os._exit(0)


def stop(port, path):
    for name in glob.glob(f"/tmp/.zuul-console-*-{port}.pid"):
        try:
            with open(name) as handle:
                os.kill(int(handle.read()), signal.SIGTERM)
        except (OSError, ValueError):
            pass
        os.unlink(name)
    for name in glob.glob(path.replace("{log_uuid}", "*")):
        with contextlib.suppress(OSError):
            os.unlink(name)


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "default": "/tmp/console-{log_uuid}.log"},
            "port": {"type": "int", "default": 19885},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        }
    )
    port, path = module.params["port"], module.params["path"]
    if module.params["state"] == "absent":
        stop(port, path)
        module.exit_json(changed=False)
    try:
        sock, host = listen(port)
    except OSError as error:
        if getattr(error, "errno", None) == 98:  # somebody listens: the daemon of an earlier playbook
            module.exit_json(changed=False)
        module.fail_json(msg=f"The console cannot listen on port {port}: {error}")
    sys.stdout.flush()
    daemonise(sock, host, port, path)
    sock.close()
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
