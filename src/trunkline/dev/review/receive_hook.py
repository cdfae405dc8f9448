"""Git's proc-receive hook: hands the commands of a push to the review server, prints what it says.

A program of its own, run by git-receive-pack with the objects already stored. Standard library only, and little of it:
its start is part of every push. Speaks pkt-lines on standard input and output, and one line of JSON
each way with the server over the Unix socket that the environment names.
"""

import json
import os
import socket
import sys


def read_packet() -> bytes | None:
    size = int(sys.stdin.buffer.read(4) or b"0000", 16)
    return sys.stdin.buffer.read(size - 4) if size >= 4 else None


def read_section() -> list[str]:
    lines = []
    while (line := read_packet()) is not None:
        lines.append(line.rstrip(b"\n").decode("utf-8", "replace"))
    return lines


def write_packet(text: str) -> None:
    data = text.encode() + b"\n"
    sys.stdout.buffer.write(b"%04x" % (len(data) + 4) + data)


def flush() -> None:
    sys.stdout.buffer.write(b"0000")
    sys.stdout.buffer.flush()


def main() -> None:
    offered = read_section()
    features = offered[0].partition("\0")[2].split() if offered else []
    with_options = "push-options" in features
    write_packet("version=1\0" + ("push-options" if with_options else ""))
    flush()
    commands = [line.split(" ", 2) for line in read_section()]
    options = read_section() if with_options else []
    question = {"token": os.environ["REVIEW_PUSH_TOKEN"], "commands": commands, "options": options}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ["REVIEW_PUSH_SOCKET"])
        server.sendall(json.dumps(question).encode() + b"\n")
        answer = json.loads(server.makefile("rb").readline())
    for line in answer["lines"]:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()
    for ref, problem in answer["report"]:
        write_packet(f"ok {ref}" if problem is None else f"ng {ref} {problem}")
    flush()


main()
