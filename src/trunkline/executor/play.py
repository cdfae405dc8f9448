"""One Ansible process: its order, its watchdogs, its messages, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trunkline.executor.console import Console, DiskFull, append_document, document_without_tasks, redacted_document
from trunkline.executor.inventory import from_frozen, to_yaml, unsafe
from trunkline.executor.jobdir import READABLE, WRITABLE, JobDir
from trunkline.executor.playbooks import PlaybookPlan
from trunkline.executor.request import BuildControl, BuildRequest, ExecutorSite
from trunkline.executor.sandbox import python_roots
from trunkline.executor.streams import Streams
from trunkline.executor.warm import Playing, WarmRunner

Json = Any

PASSED_ON = ("LANG", "TZ", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
TMP_MIB = 256
LAST_WORDS_S = 10.0
MOST_OUTPUT = 1 << 20
PARSE_ERROR = 4
MOST_PROCESSES = 8192


@dataclass
class PlayEnd:
    """status: NORMAL (Ansible ended, well or not), TIMED_OUT, UNREACHABLE or ABORTED. code: Ansible's exit code."""

    status: str
    code: int | None = None
    output: str = ""
    frozen: dict[str, Json] | None = None
    has_failed_task: bool = False

    @property
    def is_good(self) -> bool:
        return self.status == "NORMAL" and self.code == 0


@dataclass
class Stage:
    """What all playbooks of one build share."""

    request: BuildRequest
    site: ExecutorSite
    where: JobDir
    console: Console
    runner: WarmRunner
    control: BuildControl
    agent_pid: int
    may_reach: Callable[[str, int], bool]
    on_failing: Callable[[], None]
    exposed: tuple[str, ...] = ()
    unreachable: set[str] = field(default_factory=set)
    disk_full: asyncio.Event = field(default_factory=asyncio.Event)
    exposure: asyncio.Event = field(default_factory=asyncio.Event)
    logs_descriptor: int = -1

    @property
    def stop_events(self) -> tuple[asyncio.Event, ...]:
        return (self.control.aborted, self.disk_full, self.exposure)

    @property
    def is_stopped(self) -> bool:
        return any(event.is_set() for event in self.stop_events)


async def play_playbook(
    stage: Stage,
    plan: PlaybookPlan,
    arguments: Sequence[str],
    secrets: Mapping[str, Json],
    timeout_s: float | None,
    *,
    is_cleanup: bool = False,
) -> PlayEnd:
    """Run a playbook between its banners. A cleanup playbook is not stopped by what stopped the build."""
    console, trusted = stage.console, plan.frozen.trusted
    console.line(f"{plan.banner} START: {plan.title}")
    clean_home(stage.where.home)
    described = {
        "branch": plan.frozen.branch,
        "index": str(plan.index),
        "phase": plan.phase,
        "playbook": plan.place,
        "trusted": trusted,
    }
    order = {
        "kind": "playbook",
        "arguments": ["-v", str(plan.path), *arguments],
        "directory": str(plan.path.parent),
        "playbook": described,
        **_surroundings(stage, plan.settings, trusted),
    }
    if secrets:
        order["walls"].update(group_vars=str(plan.directory / "group_vars"), secrets=to_yaml(unsafe(secrets)))
    end = await _run(stage, order, timeout_s, trusted, None if is_cleanup else stage.stop_events, plan.phase == "run")
    if end.status == "NORMAL":
        _say_errors(console, end)
    await asyncio.to_thread(_keep_document, stage, described, end)
    status = "ABORTED" if stage.is_stopped else end.status
    console.line(f"{plan.banner} END RESULT_{status}: {plan.title}")
    return end


async def play_setup(stage: Stage, settings: Path, inventory: Path, arguments: Sequence[str]) -> PlayEnd:
    """Gather the facts of all nodes into the build's cache."""
    order = {
        "kind": "adhoc",
        "arguments": ["*", "-v", "-m", "gather_facts", "-i", str(inventory), "-a", "gather_subset=!all", *arguments],
        "directory": str(stage.where.work),
        **_surroundings(stage, settings, False),
    }
    end = await _run(stage, order, stage.site.ansible_setup_timeout_s, False, stage.stop_events, False)
    if end.code != 0 and end.status == "NORMAL":
        for line in end.output.splitlines():
            stage.console.line(line)
    return end


async def play_freeze(
    stage: Stage, settings: Path, inventory: Path, names: Mapping[str, Sequence[str]], extra_vars: Sequence[str]
) -> PlayEnd:
    """Evaluate the named variables of each host once; the answer is in PlayEnd.frozen."""
    order = {
        "kind": "freeze",
        "inventory": str(inventory),
        "names": {host: list(wanted) for host, wanted in names.items()},
        "extra_vars": list(extra_vars),
        "directory": str(stage.where.work),
        **_surroundings(stage, settings, False),
    }
    return await _run(stage, order, stage.site.ansible_setup_timeout_s, False, stage.stop_events, False)


def _surroundings(stage: Stage, settings: Path, trusted: bool) -> dict[str, Json]:
    site, where = stage.site, stage.where
    if trusted:
        hidden = {*site.untrusted_ro_paths, *site.untrusted_rw_paths} - {*site.trusted_ro_paths, *site.trusted_rw_paths}
    else:
        hidden = {*site.trusted_ro_paths, *site.trusted_rw_paths} - {*site.untrusted_ro_paths, *site.untrusted_rw_paths}
    kept: dict[str, bool] = dict.fromkeys(python_roots(), False)
    kept.update((place, writable) for place, writable in site_paths(site).items() if os.path.exists(place))
    limits = {"CORE": 0, "NPROC": MOST_PROCESSES}
    if site.disk_limit_mib >= 0:
        limits["FSIZE"] = (site.disk_limit_mib + 1) << 20
    return {
        "config": str(settings),
        "environment": environment(stage, settings),
        "limits": limits,
        "options": {
            "split_streams": bool(stage.request.job.ansible_split_streams),
            "max_output_bytes": site.max_output_bytes,
        },
        "walls": {
            "job_dir": str(where.root.parent),
            "build": where.root.name,
            "writable": list(WRITABLE),
            "readable": list(READABLE),
            "kept": kept,
            "hidden": sorted(hidden),
            "tmp_mib": TMP_MIB,
            "network": trusted,
            "ssh_config": None if trusted else "/etc/trunkline/ssh_config",
            "group_vars": None,
            "secrets": None,
        },
    }


def site_paths(site: ExecutorSite) -> dict[str, bool]:
    """Paths of the site that sandboxes hold, True for writable ones."""
    paths = dict.fromkeys((*site.trusted_ro_paths, *site.untrusted_ro_paths), False)
    paths.update(dict.fromkeys((*site.trusted_rw_paths, *site.untrusted_rw_paths), True))
    if site.variables_file is not None:
        paths[str(site.variables_file)] = False
    return paths


def environment(stage: Stage, settings: Path) -> dict[str, str]:
    """Of the executor's own environment only what a job needs; ours besides. Ansible's programs are not on PATH."""
    where = stage.where
    own_bin = str(Path(sys.prefix) / "bin")
    path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    values = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    values.update(
        {
            "PATH": ":".join(part for part in path.split(":") if part != own_bin),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(settings),
            "HOME": str(where.home),
            "TMP": str(where.work / "tmp"),
            "KUBECONFIG": str(where.root / "kube" / "config"),
            "KUBECACHEDIR": str(where.work / ".kube" / "cache"),
            "SSH_AUTH_SOCK": "/run/trunkline/agent",
            "SSH_AGENT_PID": str(stage.agent_pid),
            "ZUUL_JOBDIR": str(where.root),
            "ZUUL_JOB_FAILURE_OUTPUT": json.dumps(list(stage.request.job.failure_output)),
            "ZUUL_OUTPUT_MAX_BYTES": str(stage.site.max_output_bytes),
            "ZUUL_ANSIBLE_SPLIT_STREAMS": str(bool(stage.request.job.ansible_split_streams)),
        }
    )
    return values


async def _run(
    stage: Stage,
    order: Mapping[str, Json],
    timeout_s: float | None,
    trusted: bool,
    stops: Sequence[asyncio.Event] | None,
    counts_failures: bool,
) -> PlayEnd:
    output, document = stage.where.private / "output", stage.where.private / "document"
    output.unlink(missing_ok=True)
    if timeout_s is not None and timeout_s <= 0:
        return PlayEnd("TIMED_OUT")
    playing = await stage.runner.play(order, output, document)
    end = PlayEnd("NORMAL")
    streams = Streams(stage.console, (lambda _host, _port: True) if trusted else stage.may_reach)
    seen_unreachable: set[str] = set()
    reading = asyncio.create_task(_read(stage, playing, streams, end, seen_unreachable, counts_failures))
    watching = [asyncio.create_task(event.wait()) for event in stops or ()]
    try:
        done, _pending = await asyncio.wait(
            [reading, *watching], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if reading not in done:
            end.status = "ABORTED" if done else "TIMED_OUT"
            playing.kill()
            await asyncio.wait([reading], timeout=LAST_WORDS_S)
    finally:
        playing.kill()
        for task in (reading, *watching):
            task.cancel()
        results = await asyncio.gather(reading, *watching, return_exceptions=True)
        await streams.close()
        await playing.gone()
        playing.close()
    if isinstance(results[0], DiskFull):
        stage.disk_full.set()
        end.status = "ABORTED"
    elif isinstance(results[0], Exception):
        raise results[0]
    stage.unreachable |= seen_unreachable
    if end.status == "NORMAL" and (seen_unreachable or end.code is None):
        end.status = "UNREACHABLE" if seen_unreachable else "ABORTED"
    with contextlib.suppress(OSError), open(output, "rb") as handle:
        end.output = handle.read(MOST_OUTPUT).decode("utf-8", "backslashreplace")
    return end


async def _read(
    stage: Stage, playing: Playing, streams: Streams, end: PlayEnd, unreachable: set[str], counts_failures: bool
) -> None:
    """Handle the messages of one process. They come from inside the sandbox: believed only about itself."""
    console, hosts = stage.console, {}
    async for message in playing.messages():
        match message:
            case {"type": "line", "text": str(text)}:
                host = message.get("host")
                console.line(text, host if isinstance(host, str) else None)
            case {"type": "lines", "texts": list(texts)}:
                host = message.get("host")
                console.lines([str(text) for text in texts], host if isinstance(host, str) else None)
                await asyncio.sleep(0)
            case {"type": "stream", "id": str(log_id), "host": str(host), "address": str(address), "port": int(port)}:
                hosts[log_id] = host
                streams.start(log_id, host, address, port)
            case {"type": "drain", "id": str(log_id), "lines": list(lines)}:
                await streams.drain(log_id, hosts.pop(log_id, ""), [str(line) for line in lines])
            case {"type": "drop", "id": str(log_id)}:
                await streams.drop(log_id)
            case {"type": "unreachable", "host": str(host)} if host != "localhost":
                unreachable.add(host)
            case {"type": "failing"} if counts_failures:
                end.has_failed_task = True
                stage.on_failing()
            case {"type": "frozen", "hosts": dict(values)}:
                end.frozen = from_frozen(values)
            case {"type": "broken", "text": str(text)}:
                for line in text.splitlines():
                    console.line(line)
            case {"type": "end", "status": int(status)}:
                end.code = status if status >= 0 else None


def _say_errors(console: Console, end: PlayEnd) -> None:
    """What Ansible said besides the play: everything for a playbook that cannot be read, else from `ERROR!` on."""
    lines = end.output.splitlines()
    if end.code == PARSE_ERROR:
        console.line("ANSIBLE PARSE ERROR")
    else:
        starts = [index for index, line in enumerate(lines) if line.startswith("ERROR!")]
        lines = lines[starts[0] :] if starts and end.code else []
    for line in lines:
        console.line(line)


def _keep_document(stage: Stage, described: dict[str, Json], end: PlayEnd) -> None:
    """Add this playbook to job-output.json; a stopped one leaves no entry."""
    entry: str | None = None
    if end.status == "TIMED_OUT":
        entry = document_without_tasks(described, "This playbook timed out.")
    elif end.code == PARSE_ERROR:
        text = " ".join(["ANSIBLE PARSE ERROR", *end.output.splitlines()])
        entry = document_without_tasks(described, text)
    elif end.status != "ABORTED":
        entry = (stage.where.private / "document").read_text("utf-8", "backslashreplace")
        if not _is_json(entry):
            entry = document_without_tasks(described, end.output.strip())
    if entry is not None:
        if stage.console.secrets:
            entry = redacted_document(entry, stage.console.secrets, described)
        with contextlib.suppress(OSError):
            append_document(stage.logs_descriptor, "job-output.json", entry)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def clean_home(home: Path) -> None:
    """Remove what an earlier playbook could plant to steer ssh or kubectl. Links are not followed."""
    for directory in (".ssh", ".kube"):
        with contextlib.suppress(OSError):
            descriptor = os.open(home / directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.unlink("config", dir_fd=descriptor)
            finally:
                os.close(descriptor)
