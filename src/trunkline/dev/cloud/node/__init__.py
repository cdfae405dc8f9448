"""What runs inside an emulated server, and the warm process that servers are forked from.

The emulator starts one *zygote* in bubblewrap: uid 0 in a namespace of its own, everything read-only. For each server it
forks, and the child enters fresh mount, pid, ipc and uts namespaces (`kernel`), builds a root of its own (`root`), obeys
the user data (`cloudinit`) and serves SSH (`sshd`, `session`). Nothing here knows OpenStack; the emulator talks to it in
the messages of `wire`: boot and kill to the zygote, listen and unlisten to a server; console text and events come back.
"""
