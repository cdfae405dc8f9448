"""What a build is asked with, what it reports while it runs, and what it answers.

BuildRequest is plain JSON (it is stored with the build); nothing secret is in it. What must stay in memory travels
beside it as BuildPrivate. Shapes only: no I/O but the two events of BuildControl.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

import msgspec

from trunkline.config import FrozenJob

Json = Any


class ProjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A project whose repository the build's workspace holds (or from which it takes playbooks and roles)."""

    connection: str
    canonical_hostname: str
    name: str
    canonical_name: str
    required: bool = False
    default_branch: str = "master"
    override_branch: str | None = None
    override_checkout: str | None = None
    merge_mode: str | None = None


class RefInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A change, branch tip, tag or other ref, as it shows in `zuul.items`.

    branch is None for tags and other refs; change and patchset are None for all but changes; oldrev and newrev are
    None where they do not apply (also where they are all zeros).
    """

    connection: str
    canonical_hostname: str
    project: str
    ref: str
    url: str = ""
    branch: str | None = None
    tag: str | None = None
    change: str | None = None
    patchset: str | None = None
    commit_id: str | None = None
    oldrev: str | None = None
    newrev: str | None = None
    message: str | None = None
    topic: str | None = None
    bundle_id: str | None = None

    @property
    def canonical_name(self) -> str:
        return f"{self.canonical_hostname}/{self.project}"


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One server of the build. `names` are its name and aliases in the nodeset: each becomes an inventory host."""

    names: tuple[str, ...]
    label: str
    uuid: str | None = None
    interface_ip: str | None = None
    port: int = 22
    username: str | None = None
    connection_type: str = "ssh"
    host_keys: tuple[str, ...] = ()
    python_path: str | None = None
    shell_type: str | None = None
    az: str | None = None
    cloud: str | None = None
    provider: str | None = None
    region: str | None = None
    host_id: str | None = None
    external_id: str | None = None
    slot: int | None = None
    public_ipv4: str | None = None
    private_ipv4: str | None = None
    public_ipv6: str | None = None
    private_ipv6: str | None = None
    reuse: bool = False
    node_properties: dict[str, Json] = {}


class ArtifactInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact that this build can see: its producer's ref and job, name, URL, metadata."""

    project: str
    job: str
    name: str
    url: str
    change: str | None = None
    patchset: str | None = None
    branch: str | None = None
    ref: str | None = None
    oldrev: str | None = None
    newrev: str | None = None
    metadata: dict[str, Json] | None = None


class GitSource(msgspec.Struct, frozen=True, kw_only=True):
    """How to fetch from one connection. `base_url` + "/" + project name is a URL git understands."""

    connection: str
    base_url: str
    ssh_command: str | None = None
    username: str | None = None
    ssh_key_file: str | None = None
    verify_tls: bool = True


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a build that may be written down.

    change is the item's own ref; items are all refs merged into the workspace, head of the queue first, the item's own
    last. projects: what is prepared in work/src. playbook_projects: further projects that only playbooks, roles or
    include-vars come from. repo_state: canonical project name to {full ref: commit id}, as frozen for this item.
    parent_data: what parent jobs returned, merged in graph order, without `zuul`.
    """

    uuid: str
    buildset: str
    event_id: str
    tenant: str
    pipeline: str
    post_review: bool
    job: FrozenJob
    change: RefInfo
    items: tuple[RefInfo, ...]
    build_refs: tuple[RefInfo, ...] = ()
    buildset_refs: tuple[RefInfo, ...] = ()
    projects: tuple[ProjectInfo, ...] = ()
    playbook_projects: tuple[ProjectInfo, ...] = ()
    repo_state: dict[str, dict[str, str]] = {}
    attempt: int = 1
    max_attempts: int = 3
    voting: bool = True
    nodes: tuple[NodeInfo, ...] = ()
    groups: dict[str, tuple[str, ...]] = {}
    child_jobs: tuple[str, ...] = ()
    artifacts: tuple[ArtifactInfo, ...] = ()
    parent_data: dict[str, Json] = {}
    sources: dict[str, GitSource] = {}


class BuildPrivate(msgspec.Struct, kw_only=True):
    """What exists only in memory, decrypted just before the run.

    secrets: "PHASE:INDEX" (phase pre, run or post; index in the frozen job's list) to {alias: value}.
    exposed: the plain texts of encrypted fields, which secret-exposure looks for.
    ssh_keys: private keys in PEM (the tenant's; in post-review pipelines the project's too).
    """

    secrets: dict[str, dict[str, Json]] = {}
    exposed: tuple[str, ...] = ()
    secret_parent_data: dict[str, Json] = {}
    ssh_keys: tuple[str, ...] = ()


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. result None asks for another attempt (retry_reason says why in a word).

    data: what the job returned, `zuul` included; secret_data: what only dependants may see. artifacts: as returned,
    URLs joined to log_url. warnings: lines for the report. hold_hint: the nodes would be kept by an autohold.
    """

    result: str | None
    retry_reason: str | None = None
    error_detail: str | None = None
    data: dict[str, Json] = {}
    secret_data: dict[str, Json] = {}
    artifacts: tuple[dict[str, Json], ...] = ()
    log_url: str | None = None
    warnings: tuple[str, ...] = ()
    unreachable: bool = False
    hold_hint: bool = False


class BuildSink(Protocol):
    """Where a build reports while it runs. Calls are awaited in order; an exception fails the build with ERROR."""

    async def started(self) -> None:
        """The console exists and the workspace is being prepared."""

    async def nodes_in_use(self) -> None:
        """From here on the nodes are used up, whatever happens."""

    async def phase(self, name: str, index: int) -> None:
        """A playbook begins: `setup`, `pre`, `run`, `post`, and its index."""

    async def failing(self) -> None:
        """The build cannot succeed any more (failed task that ends its play, or a failure-output match)."""

    async def paused(self, data: dict[str, Json], secret_data: dict[str, Json]) -> None:
        """run succeeded and asked to wait; BuildControl.resume() continues it."""

    async def resumed(self) -> None:
        """Post-run begins after a pause."""


class BuildControl:
    """The two things that can be done to a running build; both may be called at any time, any number of times."""

    def __init__(self) -> None:
        self.aborted = asyncio.Event()
        self.resumed = asyncio.Event()
        self.reason = ""

    def abort(self, reason: str = "") -> None:
        """Kill the playbook that runs, run only cleanup playbooks, answer ABORTED."""
        self.reason = self.reason or reason
        self.aborted.set()

    def resume(self) -> None:
        """Let a paused build go on."""
        self.resumed.set()


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a work tree: a branch or tag, why that one, and its commit id."""

    ref: str
    description: str
    commit: str


class WorkspaceConflict(Exception):
    """The item's changes do not merge. `files` are the paths in conflict, if known."""

    def __init__(self, message: str, files: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.files = files


class WorkspaceMissing(Exception):
    """A project, branch or ref that the job names does not exist: the build ends in ERROR with this text."""


class WorkspaceBroken(Exception):
    """Git or the network failed in a way that may pass: the build is tried again."""


ChooseRef = Callable[[ProjectInfo, Collection[str]], tuple[str, str]]


class Workspaces(Protocol):
    """The git room, as this room needs it."""

    async def prepare(
        self, request: BuildRequest, src_root: Path, step: Callable[[str], None], choose: ChooseRef
    ) -> dict[str, Checkout]:
        """Clone request.projects to their `src_dir` below src_root and merge request.items into them.

        `step(line)` is called with "Updating git repos", "Cloning repos into workspace", "Restoring repo states",
        "Merging changes", "Checking out repos" as each begins. `choose(project, refs)` says which of the existing full
        refs (refs/heads/…, refs/tags/…, and refs/changes/… or other own refs) to check out, and why; it raises
        WorkspaceMissing. All branches exist locally, refs/remotes/origin/* is the state before the item's own changes,
        origin is file:///dev/null. job.workspace_scheme and job.workspace_checkout are respected (paths by
        `executor.checkout.src_dir`). Returns canonical project name to checkout.
        """

    async def content(
        self, request: BuildRequest, project: ProjectInfo, ref: str, speculative: bool, destination: Path
    ) -> Checkout:
        """Check out `project` at branch or tag `ref` to `destination`, for playbooks and roles.

        speculative: with the item's changes merged as in the workspace; else the branch's tip as it landed. Raises
        WorkspaceMissing when the ref does not exist.
        """

    async def refs(self, request: BuildRequest, project: ProjectInfo, speculative: bool) -> Collection[str]:
        """The full names of the project's branches and tags."""


class ExecutorSite(msgspec.Struct, frozen=True, kw_only=True):
    """How this executor is set up: plain values of the `[executor]` section.

    *_paths: bound into the sandbox besides the system and the build. disk_limit_mib: per job directory, -1 for none.
    ansible_versions maps the names jobs use to prefixes of virtual environments; "" is this one.
    """

    job_dir: Path
    hostname: str = "localhost"
    private_key_file: Path | None = None
    variables_file: Path | None = None
    default_username: str = "zuul"
    ansible_setup_timeout_s: float = 60.0
    disk_limit_mib: int = 250
    max_output_bytes: int = 1 << 30
    trusted_ro_paths: tuple[str, ...] = ()
    trusted_rw_paths: tuple[str, ...] = ()
    untrusted_ro_paths: tuple[str, ...] = ()
    untrusted_rw_paths: tuple[str, ...] = ()
    untrusted_hosts: tuple[str, ...] = ()
    finger_host: str = "localhost"
    finger_port: int = 7900
    keep_job_dirs: bool = False
    zone: str | None = None
    ansible_version: str = "11"
