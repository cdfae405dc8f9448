"""What a push to refs/for/BRANCH%OPTIONS asks for. Pure."""

import re
from urllib.parse import unquote

import msgspec

from trunkline.dev.review.model import Refused
from trunkline.dev.review.rules import LABELS

_LABEL = re.compile(r"^(?P<name>[A-Za-z][A-Za-z0-9-]*?)(?:=?(?P<value>[+-]?\d+))?$")
_FOOTER = re.compile(r"^[A-Za-z0-9-]+:.*$|^\(cherry picked from .*\)$|^\s.*$")
_CHANGE_ID = re.compile(r"^Change-Id:\s*(.*)$")
_VALID_ID = re.compile(r"^I[0-9a-f]{40}$")


class Wanted(msgspec.Struct, frozen=True):
    branch: str
    topic: str | None = None
    hashtags: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    ccs: tuple[str, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    message: str = ""
    wip: bool | None = None
    private: bool | None = None
    submit: bool = False


def wanted(ref: str, push_options: list[str]) -> Wanted:
    """Read a ref and the `-o` options of its push. Raises Refused with the text that becomes the ref's status."""
    target, _, inline = ref.removeprefix("refs/for/").partition("%")
    fields: dict[str, object] = {"branch": target.removeprefix("refs/heads/")}
    lists: dict[str, list[object]] = {"hashtags": [], "reviewers": [], "ccs": [], "labels": []}
    for option in [*filter(None, inline.split(",")), *push_options]:
        name, _, value = option.partition("=")
        match name:
            case "topic":
                fields["topic"] = value
            case "hashtag" | "t":
                lists["hashtags"].append(value.removeprefix("#"))
            case "r" | "reviewer":
                lists["reviewers"].append(value)
            case "cc":
                lists["ccs"].append(value)
            case "l" | "label":
                lists["labels"].append(_vote(value))
            case "m" | "message":
                fields["message"] = unquote(value.replace("_", " "))
            case "wip" | "work-in-progress":
                fields["wip"] = True
            case "ready":
                fields["wip"] = False
            case "private":
                fields["private"] = True
            case "remove-private":
                fields["private"] = False
            case "submit":
                fields["submit"] = True
            case "notify" | "no-publish-comments" | "publish-comments" | "trace" | "ignore-attention-set":
                pass
            case _:
                raise Refused(400, f'"--{name}" is not a valid option')
    return msgspec.convert(fields | lists, Wanted)


def _vote(text: str) -> tuple[str, int]:
    found = _LABEL.match(text)
    if not found or found["name"] not in LABELS:
        raise Refused(400, f'label "{found["name"] if found else text}" is not a configured label')
    return found["name"], int(found["value"] or 1)


def change_id(message: str, short: str, hook_hint: list[str]) -> str:
    """The commit's Change-Id. Raises BadMessage with the lines for the person."""
    lines = message.rstrip("\n").split("\n")
    footer = _footer(lines)
    ids = [found[1].strip() for line in footer if (found := _CHANGE_ID.match(line))]
    if not ids:
        if any(_CHANGE_ID.match(line) for line in lines[1:]):
            hints = [
                "Hint: run",
                "  git commit --amend",
                "and move 'Change-Id: Ixxx..' to the bottom on a separate line",
            ]
            raise BadMessage(f"commit {short}: Change-Id must be in message footer", hints)
        raise BadMessage(f"commit {short}: missing Change-Id in message footer", hook_hint)
    if len(ids) > 1:
        found_ids = [f"* {value} [{'VALID' if _VALID_ID.match(value) else 'INVALID'}]" for value in ids]
        problem = f"commit {short}: multiple Change-Id lines in message footer"
        raise BadMessage(problem, ["Hint: the following Change-Ids were found:", *found_ids])
    if not _VALID_ID.match(ids[0]):
        raise BadMessage(f"commit {short}: invalid Change-Id line format in message footer", hook_hint)
    return ids[0]


def _footer(lines: list[str]) -> list[str]:
    """The last paragraph, where all of its lines look like footers; never the subject's own paragraph."""
    if "" not in lines:
        return []
    last = len(lines) - 1 - lines[::-1].index("")
    paragraph = lines[last + 1 :]
    return paragraph if any(_FOOTER.match(line) for line in paragraph) else []


class BadMessage(Exception):
    def __init__(self, problem: str, hints: list[str]) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hints = hints
