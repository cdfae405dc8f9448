"""The site's nouns. Frozen values; ids are numbers as Gerrit gives them. Times are epoch seconds."""

import msgspec

NO_SHA = "0" * 40


class Account(msgspec.Struct, frozen=True):
    id: int
    username: str
    name: str = ""
    email: str = ""
    ssh_keys: tuple[str, ...] = ()
    password: str = ""
    registered: float = 0.0
    is_active: bool = True


class Group(msgspec.Struct, frozen=True):
    id: int
    uuid: str
    name: str
    description: str = ""
    members: tuple[int, ...] = ()
    created: float = 0.0


class Project(msgspec.Struct, frozen=True):
    name: str
    description: str = ""
    submit_type: str = "MERGE_IF_NECESSARY"
    created: float = 0.0


class PatchSet(msgspec.Struct, frozen=True):
    number: int
    sha: str
    parents: tuple[str, ...]
    uploader: int
    created: float
    kind: str
    description: str = ""


class Vote(msgspec.Struct, frozen=True):
    """A standing vote; value 0 marks somebody who withdrew or was asked."""

    label: str
    account: int
    value: int
    at: float
    patchset: int
    is_post_submit: bool = False


class Message(msgspec.Struct, frozen=True):
    """`id` is the commit of the change's meta ref that brought it."""

    id: str
    author: int | None
    at: float
    text: str
    patchset: int
    tag: str = ""


class Range(msgspec.Struct, frozen=True):
    start_line: int
    start_character: int
    end_line: int
    end_character: int


class Comment(msgspec.Struct, frozen=True):
    id: str
    message_id: str
    author: int
    at: float
    path: str
    text: str
    patchset: int
    is_unresolved: bool
    line: int | None = None
    range: Range | None = None
    side: str = "REVISION"
    in_reply_to: str | None = None
    tag: str = ""


class Change(msgspec.Struct, frozen=True):
    number: int
    project: str
    branch: str
    change_id: str
    owner: int
    created: float
    updated: float
    status: str = "NEW"
    topic: str = ""
    hashtags: tuple[str, ...] = ()
    is_wip: bool = False
    is_private: bool = False
    has_review_started: bool = True
    patchsets: tuple[PatchSet, ...] = ()
    votes: tuple[Vote, ...] = ()
    reviewers: tuple[int, ...] = ()
    ccs: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    comments: tuple[Comment, ...] = ()
    meta: str = NO_SHA
    subject: str = ""
    submitted: float = 0.0
    submitter: int | None = None
    submission_id: str = ""
    is_forced: bool = False

    @property
    def current(self) -> PatchSet:
        return self.patchsets[-1]

    @property
    def is_open(self) -> bool:
        return self.status == "NEW"

    @property
    def meta_ref(self) -> str:
        return f"refs/changes/{self.number % 100:02d}/{self.number}/meta"

    def ref(self, patchset: int) -> str:
        return f"refs/changes/{self.number % 100:02d}/{self.number}/{patchset}"

    def vote(self, label: str, account: int) -> int:
        """The value that stands on the current patch set."""
        return next((v.value for v in self.votes if v.label == label and v.account == account), 0)


class Refused(Exception):
    """An action is not possible; `status` is the HTTP one, the text goes to the person."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def not_found(what: object) -> Refused:
    return Refused(404, f"Not found: {what}")
