"""The console of a build: what Ansible does becomes lines for job-output.txt and an entry for job-output.json.

The callback writes nothing itself. It sends messages to the executor, which owns the files, follows the consoles of the
nodes, and keeps the order: a `drain` waits for the node's last line before what follows it.

Messages: line {text, host?}, stream {id, host, address, port}, drain {id, lines}, drop {id}, unreachable {host}, failing.
"""

import datetime
import json
import os
import sys

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: trunkline_console
    type: stdout
    short_description: Sends the console of a build to its executor
    description:
      - Used by the executor only.
"""

COMMANDS = frozenset(
    prefix + name for prefix in ("", "ansible.builtin.", "ansible.legacy.") for name in ("command", "shell")
)
LOCAL_CONNECTIONS = frozenset(("local", "winrm", "psrp", "kubectl", "network_cli", "netconf", "httpapi"))
HIDDEN_IN_ERRORS = (
    "cmd",
    "stdout",
    "stdout_lines",
    "stderr",
    "stderr_lines",
    "changed",
    "invocation",
    "zuul_log_id",
    "failed",
)
LONGEST_LINE = 1 << 20
BATCH = 1 << 18
MOST_FALLBACK = 1 << 20  # characters that stand in for a console that is not there
MOST_KEPT = 4 << 20  # characters of one output in job-output.json
CENSORED = "Output suppressed because no_log was given"


def now_iso():
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def shown_lines(result):
    """What a command printed, as lines. Merged by the module unless the streams are split."""
    lines = list(result.get("stdout_lines") or [])
    return lines + list(result.get("stderr_lines") or [])


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "trunkline_console"

    def __init__(self):
        super().__init__()
        self.run = sys.modules["trunkline_settings"]
        self.settings = self.run.SETTINGS
        self.playbook = self.settings["playbook"]
        self.plays = []
        self.streams = {}
        self.play = None

    # Messages

    def send(self, message):
        self.run.write_all(self.settings["messages"], self.run.frame(message))

    def line(self, text, host=None):
        text = str(text)
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]} [the line is cut: {len(text)} characters]"
        self.send({"type": "line", "text": text, "host": host} if host else {"type": "line", "text": text})

    def lines(self, texts, host):
        """Many lines of one host, sent in batches."""
        batch, size = [], 0
        for text in texts:
            text = str(text)
            if len(text) > LONGEST_LINE:
                text = f"{text[:LONGEST_LINE]} [the line is cut: {len(text)} characters]"
            batch.append(text)
            size += len(text) + 1
            if size > BATCH:
                self.send({"type": "lines", "texts": batch, "host": host})
                batch, size = [], 0
        if batch:
            self.send({"type": "lines", "texts": batch, "host": host})

    def document(self, value, host):
        self.lines(json.dumps(value, indent=2, sort_keys=True, default=str).split("\n"), host)

    def _shown(self, values, hidden, host):
        self.document({k: v for k, v in values.items() if not k.startswith("_") and k not in hidden}, host)

    # Plays and tasks

    def v2_playbook_on_play_start(self, play):
        self.play = play
        name = play.get_name().strip()
        self.line("")
        self.line(f"PLAY [{name}]")
        entry = {"name": name, "id": str(play._uuid), "duration": {"start": now_iso()}}
        self.plays.append({"play": entry, "tasks": []})

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.settings["starts"][task._uuid] = self.settings["starts"].get(task._uuid, 0) + 1
        word = "LOOP" if task.loop is not None or task.loop_with else "TASK"
        self.line("")
        self.line(f"{word} [{self._title(task)}]")
        entry = {"name": self._name(task), "id": str(task._uuid), "duration": {"start": now_iso()}}
        if task._role is not None:
            entry["role"] = {"name": task._role.get_name(), "id": str(task._role._uuid), "path": task._role._role_path}
        if self.plays:
            self.plays[-1]["tasks"].append({"task": entry, "hosts": {}})

    v2_playbook_on_handler_task_start = lambda self, task: self.v2_playbook_on_task_start(task, False)  # noqa: E731

    def _title(self, task):
        title = task.get_name().strip()
        raw = task.args.get("_raw_params") if isinstance(task.args, dict) else None
        if not task.name and task.action in COMMANDS and isinstance(raw, str) and raw and "\n" not in raw.strip():
            title += f": {raw}"
        return title

    def _name(self, task):
        return task.name or task.get_name(include_role_fqcn=False).split(" : ")[-1].strip()

    def v2_runner_on_start(self, host, task):
        if task.action not in COMMANDS or task.loop is not None or task.loop_with or task.async_val or task.delegate_to:
            return
        variables = self.play.get_variable_manager().get_vars(play=self.play, host=host, task=task)
        if self._is_local(host, variables) or variables.get("zuul_console_disabled"):
            return
        log_id = f"{task._uuid}-{self.settings['starts'].get(task._uuid, 1)}-{host.get_name()}"
        address = variables.get("ansible_host") or variables.get("inventory_hostname")
        port = variables.get("zuul_console_port", 19885)
        self.streams[(task._uuid, host.get_name())] = log_id
        self.send({"type": "stream", "id": log_id, "host": host.get_name(), "address": str(address), "port": int(port)})

    def _is_local(self, host, variables):
        connection = variables.get("ansible_connection", constants.DEFAULT_TRANSPORT)
        return connection.split(".")[-1] in LOCAL_CONNECTIONS or (
            host.get_name() in constants.LOCALHOST and "ansible_connection" not in variables and host.implicit
        )

    # Results

    def v2_runner_on_ok(self, result):
        task, values, host = result._task, result._result, self._host(result)
        streamed = self._drain(result)
        self._record(result)
        if task.loop is not None or task.loop_with:
            return
        if task.no_log or values.get("censored"):
            self.line(CENSORED, host)
        elif task.action.split(".")[-1] == "debug":
            self._debug(values, host)
        elif task.async_val and not task.poll:
            self.line("ok: ERROR (ignored)", host)
            self._shown(values, ("changed", "failed", "invocation"), host)
        elif task.action in COMMANDS:
            if not streamed and not task.async_val:
                self.lines(shown_lines(values), host)
            self.line(f"ok: Runtime: {values.get('delta')}", host)
        else:
            self._plain(task, values, host)

    def _plain(self, task, values, host):
        if task.action.split(".")[-1] == "raw":
            self.lines(shown_lines(values), host)
        status = "changed" if values.get("changed") else "ok"
        message = values.get("msg")
        if isinstance(message, str) and message and task.action.split(".")[-1] in ("assert", "fail", "meta"):
            status += f": {message}"
        self.line(status, host)

    def _debug(self, values, host):
        shown = {
            key: value for key, value in values.items() if not key.startswith("_") and key not in ("changed", "failed")
        }
        if set(shown) == {"msg"}:
            message = shown["msg"]
            self.lines(message.split("\n") if isinstance(message, str) else [message], None)
        else:
            self.line("ok:", host)
            self.document(shown, host)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        task, values, host = result._task, result._result, self._host(result)
        streamed = self._drain(result)
        self._record(result, has_failed=True)
        if task.no_log or values.get("censored"):
            self.line(CENSORED, host)
        elif not (values.get("results") and (task.loop is not None or task.loop_with)):
            self._error(values, host, show_output=task.action in COMMANDS and not streamed)
        if ignore_errors:
            self.line(CENSORED if task.no_log or values.get("censored") else "ERROR: Ignoring Errors", host)
        elif not self._can_be_rescued(task):
            self.send({"type": "failing"})

    def _error(self, values, host, show_output):
        if show_output:
            self.lines(shown_lines(values), host)
        if "module_stderr" in values or ("exception" in values and "module_stdout" in values):
            self.line("MODULE FAILURE:", host)
            text = "\n".join(str(values.get(key) or "") for key in ("module_stdout", "module_stderr", "exception"))
            self.lines([part for part in text.splitlines() if part.strip()], host)
            return
        self.line("ERROR", host)
        self._shown(values, HIDDEN_IN_ERRORS, host)

    def _can_be_rescued(self, task):
        parent = task._parent
        while parent is not None:
            if getattr(parent, "rescue", None) and task not in getattr(parent, "always", ()):
                return True
            parent = parent._parent
        return False

    def v2_runner_on_skipped(self, result):
        log_id = self.streams.pop((result._task._uuid, result._host.get_name()), None)
        if log_id:
            self.send({"type": "drop", "id": log_id})
        self._record(result)
        if not (result._task.loop is not None or result._task.loop_with):
            self._skipped(result._result, self._host(result))

    def _skipped(self, values, host):
        self.line(
            f"skipping: {values.get('skip_reason') or values.get('skipped_reason') or 'Conditional result was False'}",
            host,
        )

    def v2_runner_on_unreachable(self, result):
        host = self._host(result)
        log_id = self.streams.pop((result._task._uuid, result._host.get_name()), None)
        if log_id:
            self.send({"type": "drop", "id": log_id})
        self._record(result)
        self.line("ERROR", host)
        shown = {k: v for k, v in result._result.items() if k in ("msg", "unreachable")}
        self.document({**shown, "unreachable": True}, host)
        self.send({"type": "unreachable", "host": result._host.get_name()})
        if result._task.ignore_unreachable:
            self.line("ERROR: Ignoring Errors", host)

    def v2_runner_item_on_ok(self, result):
        task, values, host = result._task, result._result, self._host(result)
        if task.no_log or values.get("censored"):
            self.line(CENSORED, host)
        elif task.action in COMMANDS:
            self.lines(shown_lines(values), host)
            self.line(f"ok: Item:{self._item(values)} Runtime: {values.get('delta')}", host)
        elif task.action.split(".")[-1] == "debug" and isinstance(values.get("msg"), str):
            self.line(f"ok: {values['msg']}", host)
        else:
            status = "changed" if values.get("changed") else "ok"
            item = values.get(values.get("ansible_loop_var", "item"))
            self.line(f"{status}: {json.dumps(item, sort_keys=True, default=str)}", host)

    def v2_runner_item_on_failed(self, result):
        task, values, host = result._task, result._result, self._host(result)
        if task.no_log or values.get("censored"):
            self.line(CENSORED, host)
        elif task.action in COMMANDS and "rc" in values:
            self.lines(shown_lines(values), host)
            self.line(f"ok: Item:{self._item(values)} Result: {values['rc']}", host)
        else:
            self._error(values, host, show_output=False)

    def v2_runner_item_on_skipped(self, result):
        self._skipped(result._result, self._host(result))

    def _item(self, values):
        item = values.get(values.get("ansible_loop_var", "item"))
        return f" {item}" if isinstance(item, str) else ""

    def v2_playbook_on_include(self, included_file):
        for host in included_file._hosts:
            name = included_file._filename if not included_file._is_role else included_file._task._role_name
            self.line(f"included: {name}", host.get_name())

    def v2_playbook_on_stats(self, stats):
        self.line("")
        self.line("PLAY RECAP")
        totals = {}
        for host in sorted(stats.processed):
            numbers = stats.summarize(host)
            totals[host] = numbers
            words = ("ok", "changed", "unreachable", "failures", "skipped", "rescued", "ignored")
            counts = " ".join(f"{'failed' if word == 'failures' else word}: {numbers[word]}" for word in words)
            self.line(counts, host)
        self.line("")
        self._write_document(totals)

    # Shared parts

    def _host(self, result):
        host = result._host.get_name()
        delegate = result._result.get("_ansible_delegated_vars", {}).get("ansible_delegated_host")
        delegate = delegate or (result._task.delegate_to if result._task.delegate_to else None)
        return f"{host} -> {delegate}" if delegate and delegate != host else host

    def _drain(self, result):
        """Whether the output was followed live: then wait for its end; `lines` are shown if no console was there."""
        log_id = self.streams.pop((result._task._uuid, result._host.get_name()), None)
        if log_id is None:
            return False
        hidden = result._task.no_log or result._result.get("censored")
        texts, room = [], MOST_FALLBACK
        for text in [] if hidden else shown_lines(result._result):
            room -= len(text) + 1
            if room < 0:
                break
            texts.append(text)
        has_run = "delta" in result._result and result._result["delta"] is not None
        self.send({"type": "drain" if has_run or hidden else "drop", "id": log_id, "lines": texts})
        return True

    def _record(self, result, has_failed=False):
        if not self.plays:
            return
        values = {k: v for k, v in result._result.items() if not k.startswith("_ansible_")}
        values["action"] = result._task.action
        if has_failed:
            values["failed"] = True
        for name in ("stdout", "stderr"):
            if isinstance(values.get(name), str) and len(values[name]) > MOST_KEPT:
                values[name] = values[name][:MOST_KEPT] + f"[cut: {len(values[name])} characters]"
                values[f"{name}_lines"] = values[name].splitlines()
        end = now_iso()
        for entry in reversed(self.plays[-1]["tasks"]):
            if entry["task"]["id"] == str(result._task._uuid):
                entry["hosts"][result._host.get_name()] = values
                entry["task"]["duration"]["end"] = end
                break
        self.plays[-1]["play"]["duration"]["end"] = end

    def _write_document(self, totals):
        entry = {**self.playbook, "plays": self.plays, "stats": totals}
        with os.fdopen(os.dup(self.settings["document"]), "w", encoding="utf-8", errors="backslashreplace") as handle:
            json.dump(entry, handle, indent=1, sort_keys=True, default=str)
