"""The warm process: Ansible imported and run once, waiting to be forked.

    python -I zygote.py SOCKET_FD READY_PLAYBOOK     (empty: Ansible is imported, nothing is run before)

Runs inside the outer sandbox. On a SOCK_SEQPACKET socket it receives one JSON order a playbook, with three descriptors
(messages, output, document), forks a child in a fresh pid namespace, and answers with a descriptor of that process: who
holds it can wait for it and kill it, and with it all that the playbook started. The zygote itself never runs a job.
"""

import array
import gc
import json
import os
import resource
import signal
import socket
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import ansible_run
import sandbox

MAX_ORDER = 1 << 20


def receive(sock):
    """The next order and its descriptors; None at the end. A long order comes as a descriptor of a file."""
    data, ancillary, _flags, _address = sock.recvmsg(4096, socket.CMSG_SPACE(8 * 4))
    if not data:
        return None, []
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % 4])
    order, *rest = descriptors
    with os.fdopen(order, "rb") as handle:
        return json.loads(handle.read()), rest


def become_playbook(order, descriptors):
    """In the new pid namespace, as its first process: raise the walls, fork the playbook, stay as its reaper."""
    messages, output, document = descriptors
    sandbox.raise_walls(order["walls"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sandbox.give_up_power(order["limits"])
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        for descriptor in (null, output):
            if descriptor > 2:
                os.close(descriptor)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["directory"])
        os.umask(0o022)
        return ansible_run.run(order, messages, document)
    os.close(output)
    os.close(document)
    status = reap_until(child)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(part.ru_utime + part.ru_stime for part in used)
    os.write(messages, ansible_run.frame({"type": "end", "status": status, "cpu_s": cpu_s}))
    return 0


def reap_until(child):
    """Wait for `child` and collect orphans meanwhile. Negative: the signal that ended it."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def in_child(sock, order, descriptors):
    status = 70
    try:
        sock.close()
        status = become_playbook(order, descriptors)
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        os.write(descriptors[0], ansible_run.frame({"type": "broken", "text": text}))
    finally:
        os._exit(status)


def serve(sock):
    own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        order, descriptors = receive(sock)
        if order is None:
            return
        sandbox.unshare(sandbox.CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            in_child(sock, order, descriptors)
        handle = os.pidfd_open(child)
        sandbox.setns(own_pid_namespace, sandbox.CLONE_NEWPID)
        socket.send_fds(sock, [b"started"], [handle])
        for descriptor in (handle, *descriptors):
            os.close(descriptor)


def main():
    sock = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(sock.fileno(), False)
    sandbox.prctl(sandbox.PR_SET_PDEATHSIG, signal.SIGKILL)
    ansible_run.get_ready(sys.argv[2])
    gc.collect()
    gc.freeze()
    sock.send(b"ready")
    serve(sock)


if __name__ == "__main__":
    main()
