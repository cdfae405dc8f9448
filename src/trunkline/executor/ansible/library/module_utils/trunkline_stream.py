"""On the node: lets `command` and `shell` write what they print, line by line, where the node's console finds it.

The module itself stays Ansible's own; it is given this class in place of AnsibleModule. Output and errors are one stream,
in the order of arrival, unless the job splits them.
"""

import datetime
import os
import subprocess
import time
import types

import ansible.module_utils.basic as basic

PATIENCE_S = 10  # with children that keep the output open after the command's exit

EXTRA_ARGUMENTS = {
    "zuul_log_id": {"type": "str"},
    "zuul_ansible_split_streams": {"type": "bool", "default": False},
    "zuul_output_max_bytes": {"type": "int", "default": 1 << 30},
    "zuul_no_log": {"type": "bool", "default": False},
}


class Log:
    """The file that the console daemon serves. Without an id it swallows everything."""

    def __init__(self, log_id, silent):
        self.file = None
        self.silent = silent
        self.rest = b""
        if log_id:
            descriptor = os.open(
                f"/tmp/console-{os.path.basename(log_id)}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
            )
            self.file = os.fdopen(descriptor, "ab", 0)

    def write(self, chunk):
        if self.file is None or self.silent:
            return
        lines = (self.rest + chunk).split(b"\n")
        self.rest = lines.pop()
        self._put(lines)

    def _put(self, lines):
        stamp = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f | ")
        shown = [stamp + line.decode("utf-8", "backslashreplace") + "\n" for line in lines]
        self.file.write("".join(shown).encode("utf-8", "backslashreplace"))

    def close(self, code):
        if self.file is None:
            return
        if self.rest:
            self._put([self.rest])
        self._put([b"[Zuul] Task exit code: %d" % code])
        self.file.close()


class Tee:
    """Reads like a pipe, gives each chunk to the log, and keeps it. Answers one byte a chunk: who reads it only counts."""

    def __init__(self, pipe, log, limit):
        self.pipe, self.log, self.limit = pipe, log, limit
        self.chunks = []
        self.size = 0
        self.is_over = False

    def fileno(self):
        return self.pipe.fileno()

    def close(self):
        self.pipe.close()

    def read(self, count):
        chunk = self.pipe.read(count)
        if not chunk:
            self.is_over = self.is_over or chunk is not None
            return chunk
        room = max(self.limit - self.size, 0)
        self.size += len(chunk)
        if room:
            self.chunks.append(chunk[:room])
            self.log.write(chunk[:room])
        return b"."


class StreamingModule(basic.AnsibleModule):
    def __init__(self, argument_spec, *arguments, **named):
        super().__init__(dict(argument_spec, **EXTRA_ARGUMENTS), *arguments, **named)

    def exit_json(self, **values):
        super().exit_json(**self._with_log_id(values))

    def fail_json(self, msg="", **values):
        super().fail_json(msg, **self._with_log_id(values))

    def _with_log_id(self, values):
        """Results name the log, but for arguments that could not even be read."""
        log_id = getattr(self, "params", {}).get("zuul_log_id")
        return dict(values, zuul_log_id=log_id) if log_id else values

    def run_command(self, args, **named):
        log = Log(self.params["zuul_log_id"], self.params["zuul_no_log"])
        split = self.params["zuul_ansible_split_streams"]
        limit = self.params["zuul_output_max_bytes"]
        tees = []

        class Process(subprocess.Popen):
            def __init__(self, *arguments, **options):
                if not split:
                    options["stderr"] = subprocess.STDOUT
                subprocess.Popen.__init__(self, *arguments, **options)
                self.stdout = Tee(self.stdout, log, limit)
                if split:
                    self.stderr = Tee(self.stderr, log, limit)
                else:
                    end, other = os.pipe()
                    os.close(other)
                    self.stderr = Tee(os.fdopen(end, "rb"), log, limit)
                tees.extend((self.stdout, self.stderr))
                self.exited_at = None

            def poll(self):
                """The command is over when its output is, or some time after its exit: children may hold the pipe."""
                code = subprocess.Popen.poll(self)
                if code is None or all(tee.is_over for tee in tees):
                    return code
                self.exited_at = self.exited_at or time.time()
                return code if time.time() - self.exited_at > PATIENCE_S else None

        kept = basic.subprocess
        basic.subprocess = types.SimpleNamespace(Popen=Process, PIPE=subprocess.PIPE)
        try:
            code = super().run_command(args, **named)[0]
        finally:
            basic.subprocess = kept
        log.close(code)
        return (code, b"".join(tees[0].chunks), b"".join(tees[1].chunks))
