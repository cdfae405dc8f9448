"""The nouns of the room, and what every driver can do. Values only: frozen, JSON by msgspec."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import msgspec

NO_REVISION = "0" * 40
"""What a ref-updated event says for "there was, or is, no such ref"."""


class ConnectionFailed(Exception):
    """The other side could not be reached or made no sense; trying again later may help."""


class ChangeNotFound(Exception):
    """There is no such change, or this account may not see it."""


class ReportRefused(Exception):
    """The other side understood a report and will not take it; trying again does not help."""


class LandingRefused(Exception):
    """The other side will not land the change; `reason` is its own text, for the person who must act."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""
    email: str = ""
    username: str = ""


class VoteChange(msgspec.Struct, frozen=True):
    """A vote as an event tells it. `old` is None where the value did not change with the event."""

    label: str
    value: int
    old: int | None = None


class Approval(msgspec.Struct, frozen=True):
    """A vote that stands on the current patch set."""

    label: str
    value: int
    by: Account
    granted_on: float


class SubmitRequirement(msgspec.Struct, frozen=True):
    """What must hold before a change may land. `labels` are those that its expression speaks of."""

    name: str
    satisfied: bool
    expression: str = ""
    labels: tuple[str, ...] = ()


class TriggerEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something happened at a connection.

    `ref` is always full for branches and tags (`refs/heads/main`), and the patch set's ref for changes. For
    ref-updated, `branch` is set when the ref is a branch; `sent_ref` is the ref as it was sent where that differs
    (triggers are held against it). `newrev` of a change's event is the patch set's commit, of change-merged the new
    tip. `comment` is the text as the other side shows it; `patchset_comments` are comments on the patch set as a
    whole, where they are told apart. `tenant`: the only one that it is for; `pipeline`: the one that it came from (zuul)
    or is for (timer). `connection` is always the project's. `delivery` names the happening for ever: equal
    ids are the same happening, however it was learned.
    """

    connection: str
    driver: str
    delivery: str
    type: str
    project: str
    at: float
    branch: str | None = None
    ref: str | None = None
    sent_ref: str | None = None
    oldrev: str | None = None
    newrev: str | None = None
    change: int | None = None
    patchset: int | None = None
    change_url: str | None = None
    comment: str | None = None
    patchset_comments: tuple[str, ...] = ()
    approvals: tuple[VoteChange, ...] = ()
    account: Account | None = None
    reason: str | None = None
    topic: str | None = None
    hashtags: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    wip: bool | None = None
    default_branch: str | None = None
    timespec: str | None = None
    tenant: str | None = None
    pipeline: str | None = None

    @property
    def trigger(self) -> str:
        """Under which name pipelines write triggers for it."""
        return self.driver if self.driver in ("timer", "zuul") else self.connection

    @property
    def is_delete(self) -> bool:
        return self.newrev == NO_REVISION

    @property
    def branch_created(self) -> bool:
        return self.type == "ref-updated" and self.branch is not None and self.oldrev == NO_REVISION

    @property
    def branch_deleted(self) -> bool:
        return self.type == "ref-updated" and self.branch is not None and self.newrev == NO_REVISION


class ChangeInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One patch set of a change, and the state of its change.

    `status` is NEW, MERGED or ABANDONED. `files` leaves out the pseudo file /COMMIT_MSG. `depends_on` are the URLs of
    Depends-On footers in their order, as written. `uris` are all spellings by which others may name this change.
    `missing_labels` are labels that block by themselves (servers without submit requirements). Times are epoch seconds.
    """

    connection: str
    driver: str
    hostname: str
    project: str
    branch: str
    number: int
    patchset: int
    ref: str
    commit: str
    parents: tuple[str, ...]
    change_id: str
    subject: str
    message: str
    owner: Account
    url: str
    status: str
    is_current_patchset: bool
    topic: str | None = None
    hashtags: tuple[str, ...] = ()
    wip: bool = False
    private: bool = False
    files: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    submit_requirements: tuple[SubmitRequirement, ...] = ()
    missing_labels: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    created: float = 0.0
    updated: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.status == "NEW"

    @property
    def is_merged(self) -> bool:
        return self.status == "MERGED"

    @property
    def key(self) -> str:
        """The ref key of this patch set."""
        return f"{self.connection}:{self.project}:{self.number},{self.patchset}"


class TextRange(msgspec.Struct, frozen=True):
    """Lines count from 1, characters from 0; the end is exclusive in characters."""

    start_line: int
    start_character: int
    end_line: int
    end_character: int


class FileComment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A comment on a line, a range, or (neither given) a whole file."""

    message: str
    line: int | None = None
    range: TextRange | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one change is told of an item. Landing is not part of it: see `Connection.land`.

    `labels` are votes by label. `comments` go to lines of files of the patch set, by path; those whose file is not in
    the patch set are dropped by the driver, with a log entry. `notify` is the other side's word for who gets mail.
    """

    project: str
    number: int
    patchset: int
    pipeline: str
    message: str = ""
    labels: Mapping[str, int] = {}
    comments: Mapping[str, tuple[FileComment, ...]] = {}
    notify: str | None = None

    @property
    def tag(self) -> str:
        return f"autogenerated:zuul:{self.pipeline}"


class GitAccess(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to clone a project: the URL, and the secrets that do not stand in it."""

    url: str
    ssh_key: str | None = None
    ssh_port: int | None = None
    ssh_user: str | None = None
    http_user: str | None = None
    http_password: str | None = None
    env: Mapping[str, str] = {}


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a listener has come: keep it, and hand it to `listen` after a restart so that nothing is lost.

    `at` is the time of the last event that was taken. `heads` are the last known tips by project and full ref
    (branches and tags); projects that stand there are compared with the server's refs when listening begins (again).
    """

    at: float
    heads: Mapping[str, Mapping[str, str]] = {}


Emit = Callable[[TriggerEvent], Awaitable[None]]
"""Takes one event; returns when it is safe. Until then the driver does not read on."""

Keep = Callable[[str, Mapping[str, str]], Awaitable[None]]
"""Takes a project's refs as they were when listening to it began: the first `Position.heads` of it."""


class Connection(Protocol):
    """A configured driver. All methods may raise ConnectionFailed; those on changes also ChangeNotFound."""

    name: str
    driver: str
    canonical_hostname: str

    async def listen(self, emit: Emit, since: Position | None = None, keep: Keep | None = None) -> None:
        """Tell of events for ever: what happened since `since`, then live; reconnects by itself. Cancel to stop.

        A little of what happened before `since` may be told again: know it by its delivery id. Refs that moved while
        nobody listened are found by comparing with `since.heads`: store what `keep` is given for a project, and each
        ref-updated event's `newrev` over it, or such moves are lost with a restart.
        """

    def watch(self, projects: Iterable[str]) -> None:
        """Name the projects whose refs are compared when listening begins again, besides those of `since`."""

    async def change(self, number: int, patchset: int | None = None) -> ChangeInfo:
        """A change as it is now (never from a cache); patchset None is the current one."""

    async def dependencies(self, change: ChangeInfo) -> list[ChangeInfo]:
        """The git parents (one step) that have not landed, at the very patch sets that the commit names: some may be
        outdated or abandoned. `depends_on` footers are URLs: resolve them by `number_of`."""

    async def needed_by(self, change: ChangeInfo) -> list[ChangeInfo]:
        """Open changes here that need this one by git parentage, current patch sets only."""

    async def dependents(self, uris: Iterable[str]) -> list[ChangeInfo]:
        """Open changes here whose Depends-On footers name one of the URIs (of a change anywhere)."""

    async def by_topic(self, topic: str) -> list[ChangeInfo]:
        """Open changes of a topic, over all projects that the account sees."""

    async def open_changes(self, project: str) -> list[ChangeInfo]:
        """All open changes of a project."""

    def number_of(self, url: str) -> int | None:
        """The number of the change that the URL names if it is one of this connection's, else None."""

    async def submits_whole_topic(self) -> bool:
        """Whether the other side lands all changes of a topic together (then they depend on one another)."""

    async def branches(self, project: str) -> dict[str, str]:
        """Tips by branch name."""

    async def refs(self, project: str) -> dict[str, str]:
        """Commit ids by full ref: branches and tags (peeled)."""

    async def default_branch(self, project: str) -> str:
        """The branch that HEAD names."""

    async def projects(self) -> list[str]:
        """All projects that the account sees."""

    def git_source(self, project: str) -> GitAccess:
        """How to clone and fetch the project, changes' refs included."""

    async def report(self, report: Report) -> None:
        """Post message, votes and comments. Only the current patch set takes them. Raises ReportRefused."""

    async def was_said(self, report: Report) -> bool:
        """Whether this report's message stands on the change already: asked when a try to send it was cut off."""

    async def land(self, change: ChangeInfo) -> None:
        """Land this patch set; returns when it has landed (also if it had before). Raises LandingRefused."""

    async def is_merged(self, change: ChangeInfo) -> bool:
        """Whether the change has landed, asked afresh."""

    async def close(self) -> None:
        """Let go of sockets. Nothing works afterwards."""
