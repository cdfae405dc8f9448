"""The `gerrit …` commands over SSH: their options, their words, their exit codes."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncssh

from trunkline.dev.review import describe, lifecycle, projects, query
from trunkline.dev.review.model import Account, Change, PatchSet, Refused
from trunkline.dev.review.review import post_review, votes_by_option
from trunkline.dev.review.rules import LABELS
from trunkline.dev.review.site import VERSION, Site, encoded, is_ssh_key
from trunkline.dev.review.submit import submit

Words = list[str]
_PAGE = 500


class Failure(Exception):
    """Ends a command: text for standard error (with its newline), exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Session:
    """One running command: who asks, and its streams."""

    def __init__(self, site: Site, account: Account, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        self.site = site
        self.account = account
        self.process = process

    def say(self, text: str) -> None:
        self.process.stdout.write(text.encode())


class Options:
    """A command's words sorted into flags, valued options and the rest. Raises Failure for what is unknown."""

    def __init__(self, words: Words, flags: Mapping[str, str], valued: Mapping[str, str]) -> None:
        """`flags`, `valued`: every accepted spelling → its name."""
        self.flags: set[str] = set()
        self.values: dict[str, list[str]] = {}
        self.rest: Words = []
        waiting = list(words)
        while waiting:
            word = waiting.pop(0)
            name, equals, value = word.partition("=")
            if word == "--":
                self.rest += waiting
                break
            if word in flags:
                self.flags.add(flags[word])
            elif name in valued:
                if not equals:
                    if not waiting:
                        raise Failure(f'fatal: Option "{word}" takes an operand\n')
                    value = waiting.pop(0)
                self.values.setdefault(valued[name], []).append(value)
            elif word.startswith("-") and len(word) > 1 and not word[1:].lstrip("-").startswith(("(", "{")):
                raise Failure(f'fatal: "{name}" is not a valid option\n')
            else:
                self.rest.append(word)

    def one(self, name: str, default: str = "") -> str:
        return self.values.get(name, [default])[-1]


def _spelled(*names: str, **short: str) -> dict[str, str]:
    """{"--name": "name", "-n": "name"…} for names, and short="name" for one-letter spellings."""
    return {f"--{name}": name for name in names} | {f"-{letter}": name for letter, name in short.items()}


async def version(session: Session, words: Words) -> int:
    Options(words, _spelled("verbose", v="verbose"), {})
    session.say(f"gerrit version {VERSION}\n")
    return 0


# ---------------------------------------------------------------------- stream-events


async def stream_events(session: Session, words: Words) -> int:
    options = Options(words, {}, _spelled("subscribe", s="subscribe"))
    if not session.site.may(session.account, "stream events"):
        raise Failure("stream events not permitted\n")
    wanted = set(options.values.get("subscribe", ()))
    closed = asyncio.create_task(session.process.channel.wait_closed())
    try:
        with session.site.hub.listener(session.account) as queue:
            while True:
                waiting = asyncio.create_task(queue.get())
                await asyncio.wait({waiting, closed}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    return 0
                event = waiting.result()
                if not wanted or event["type"] in wanted:
                    session.say(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
                    await session.process.stdout.drain()
    finally:
        closed.cancel()


# ---------------------------------------------------------------------- query

_QUERY_FLAGS = (
    "all-approvals",
    "comments",
    "commit-message",
    "current-patch-set",
    "dependencies",
    "files",
    "patch-sets",
    "submit-records",
    "all-reviewers",
    "no-limit",
    "allow-incomplete-results",
)


async def run_query(session: Session, words: Words) -> int:
    flags = _spelled(*_QUERY_FLAGS)
    options = Options(words, flags, _spelled("format", "start", "limit", S="start", n="limit"))
    text = " ".join(options.rest)
    if not text:
        raise Failure('fatal: Argument "QUERY" is required\n')
    if "files" in options.flags and not options.flags & {"patch-sets", "current-patch-set"}:
        raise Failure("fatal: --files option needs --patch-sets or --current-patch-set\n")
    is_json = options.one("format", "text").lower() == "json"
    began = time.monotonic()
    try:
        found, limit = await query.run(session.site, text, session.account)
    except Refused as refused:
        _print(session, {"type": "error", "message": refused.text}, is_json)
        return 0
    start = int(options.one("start", "0"))
    size = min(limit or _PAGE, int(options.one("limit", str(_PAGE))))
    shown = found[start : start + size]
    for change in shown:
        line = await describe.query_line(session.site, change, frozenset(options.flags))
        _print(session, line, is_json, f"change {change.change_id}")
    stats = {
        "type": "stats",
        "rowCount": len(shown),
        "runTimeMilliseconds": round((time.monotonic() - began) * 1000),
        "moreChanges": len(found) > start + len(shown),
    }
    _print(session, stats, is_json)
    return 0


def _print(session: Session, json_: dict[str, Any], is_json: bool, head: str = "") -> None:
    if is_json:
        session.say(json.dumps(json_, ensure_ascii=False, separators=(",", ":")) + "\n")
        return
    lines = [head] if head else []
    session.say("\n".join([*lines, *_as_text(json_, "  " if head else "")]) + "\n\n")


def _as_text(value: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, entry in value.items():
        match entry:
            case dict():
                lines += [f"{indent}{key}:", *_as_text(entry, indent + "  ")]
            case list():
                lines.append(f"{indent}{key}:")
                for part in entry:
                    lines += _as_text(part, indent + "  ") if isinstance(part, dict) else [f"{indent}  {part}"]
            case bool():
                lines.append(f"{indent}{key}: {str(entry).lower()}")
            case int() if key in {"createdOn", "lastUpdated", "grantedOn", "timestamp"}:
                at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(entry))
                lines.append(f"{indent}{key}: {at}")
            case _:
                lines.append(f"{indent}{key}: {entry}")
    return lines


# ---------------------------------------------------------------------- review

_REVIEW_FLAGS = _spelled("submit", "abandon", "restore", "rebase", "json", s="submit", j="json")
_REVIEW_VALUED = _spelled(
    "project", "branch", "message", "label", "tag", "notify", "move", p="project", b="branch", m="message", l="label",
    n="notify", t="tag",
)  # fmt: skip
_LABEL_OPTIONS = {f"--{name.lower()}": name.lower() for name in LABELS}


async def review(session: Session, words: Words) -> int:
    site = session.site
    options = Options(words, _REVIEW_FLAGS, _REVIEW_VALUED | _LABEL_OPTIONS)
    if not options.rest:
        raise Failure('fatal: Argument "{COMMIT | CHANGE,PATCHSET}" is required\n')
    project = options.one("project")
    if project and project not in site.projects:
        raise Failure(f"fatal: project {project} not found\n")
    asked = await _review_input(session, options)
    failed = False
    async with site.lock:
        targets = [_target(site, session.account, word, project) for word in options.rest]
        for change, patchset in targets:
            try:
                await _review_one(session, options, change, patchset, asked)
            except Refused as refused:
                session.process.stderr.write(f"error: fatal: {refused.text}\n\n".encode())
                failed = True
    if failed:
        raise Failure("fatal: one or more reviews failed; review output above\n")
    return 0


async def _review_input(session: Session, options: Options) -> dict[str, Any]:
    if "json" in options.flags:
        try:
            found = json.loads(await session.process.stdin.read())
        except ValueError as error:
            raise Failure(f"error: {error}\n\nfatal: internal error while reading review input\n") from None
        return found if isinstance(found, dict) else {}
    labels: dict[str, int] = votes_by_option({name: options.one(name) for name in options.values})
    for vote in options.values.get("label", ()):
        name, equals, value = vote.partition("=")
        if not equals:
            raise Failure(f"fatal: Label vote missing '=': {vote}\n")
        try:
            labels[name] = int(value)
        except ValueError:
            raise Failure(f"fatal: Invalid label value: {vote}\n") from None
    asked: dict[str, Any] = {"message": options.one("message"), "tag": options.one("tag")}
    return asked | ({"labels": labels} if labels else {})


def _target(site: Site, account: Account, word: str, project: str) -> tuple[Change, PatchSet]:
    number, comma, patchset = word.partition(",")
    if comma and number.isdigit() and patchset.isdigit():
        change = site.changes.get(int(number))
        if change is None:
            raise Failure(f'fatal: "{number}" no such change\n')
        wanted = int(patchset)
    elif len(word) >= 7 and all(letter in "0123456789abcdef" for letter in word) and not word.isdigit():
        found = [
            (change, entry.number)
            for change in site.changes.values()
            for entry in change.patchsets
            if entry.sha.startswith(word)
        ]
        if not found:
            raise Failure(f'fatal: "{word}" no such patch set\n')
        change, wanted = found[0]
    elif len(word) == 40 and word.isdigit():
        raise Failure(f'fatal: "{word}" no such patch set\n')
    else:
        raise Failure(f'fatal: "{word}" is not a valid patch set\n')
    if project and change.project != project:
        raise Failure("fatal: database error\n")
    if not 1 <= wanted <= len(change.patchsets):
        raise Failure(f'fatal: "{word}" no such patch set\n')
    if not site.may_see(change, account):
        text = f"fatal: internal server error while reviewing {word}\n\nfatal: one or more reviews failed; "
        raise Failure(text + "review output above\n")
    return change, change.patchsets[wanted - 1]


async def _review_one(
    session: Session, options: Options, change: Change, patchset: PatchSet, asked: dict[str, Any]
) -> None:
    site, by, text = session.site, session.account, str(asked.get("message") or "")
    if "abandon" in options.flags:
        await lifecycle.abandon(site, change, by, text)
        return
    if "restore" in options.flags:
        await lifecycle.restore(site, change, by, text)
        return
    if "rebase" in options.flags:
        await lifecycle.rebase(site, change, by)
        return
    has_words = bool(text or asked.get("labels") or asked.get("comments"))
    if has_words or "submit" not in options.flags:
        await post_review(site, change, patchset, by, asked)
    if "submit" in options.flags:
        change = site.changes[change.number]
        if patchset.number != change.current.number and change.is_open:
            raise Refused(409, f"revision {patchset.sha} is not current revision")
        await submit(site, change, by)


# ---------------------------------------------------------------------- changes: people and topic


async def set_topic(session: Session, words: Words) -> int:
    options = Options(words, {}, _spelled("topic", t="topic"))
    failed = False
    async with session.site.lock:
        for word in options.rest:
            change = session.site.find_change(word, session.account)
            try:
                await lifecycle.set_topic(session.site, change, session.account, options.one("topic"))
            except Refused as refused:
                failed = True
                text = f"error: could not add topic to change {change.number}: {refused.text}\n"
                session.process.stderr.write(text.encode())
    if failed:
        raise Failure("fatal: one or more updates failed\n")
    return 0


async def set_reviewers(session: Session, words: Words) -> int:
    options = Options(words, {}, _spelled("add", "remove", "project", a="add", r="remove", p="project"))
    site = session.site
    async with site.lock:
        for word in options.rest:
            for name in options.values.get("remove", ()):
                change = site.find_change(word, session.account)
                await lifecycle.remove_reviewer(site, change, session.account, site.find_account(name))
            for name in options.values.get("add", ()):
                change = site.find_change(word, session.account)
                await lifecycle.add_reviewer(site, change, session.account, site.find_account(name))
    return 0


# ---------------------------------------------------------------------- projects


async def ls_projects(session: Session, words: Words) -> int:
    flags = _spelled("description", "all", d="description")
    valued = _spelled("format", "prefix", "limit", "show-branch", "match", p="prefix", n="limit", b="show-branch")
    options = Options(words, flags, valued | {"-m": "match"})
    names = [name for name in sorted(session.site.projects) if name.startswith(options.one("prefix"))]
    names = [name for name in names if options.one("match").lower() in name.lower()]
    if options.one("format", "text").lower().startswith("json"):
        shown = {}
        for name in names:
            entry = {"id": encoded(name)}
            if "description" in options.flags and session.site.projects[name].description:
                entry["description"] = session.site.projects[name].description
            shown[name] = entry | {"state": "ACTIVE"}
        session.say(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
        return 0
    branch = options.one("show-branch")
    for name in names:
        tip = await session.site.repo(name).ref(f"refs/heads/{branch}") if branch else None
        if not branch:
            session.say(f"{name}\n")
        elif tip:
            session.say(f"{tip} {name}\n")
    return 0


async def create_project(session: Session, words: Words) -> int:
    flags = _spelled("empty-commit", "permissions-only", "require-change-id", "content-merge")
    valued = _spelled("branch", "description", "submit-type", "parent", "owner", "name", b="branch", d="description")
    options = Options(words, flags, valued | {"-p": "parent", "-t": "submit-type", "-n": "name"})
    name = options.one("name") or (options.rest[0] if options.rest else "")
    if not name:
        raise Failure('fatal: Argument "NAME" is required\n')
    try:
        async with session.site.lock:
            await projects.create(
                session.site,
                name,
                session.account,
                options.values.get("branch", ()),
                options.one("description"),
                options.one("submit-type") or None,
                "empty-commit" in options.flags,
            )
    except Refused as refused:
        if refused.status == 403:
            raise Failure("create project not permitted\n") from None
        raise Failure(
            "fatal: Project already exists\n" if refused.status == 409 else f"fatal: {refused.text}\n"
        ) from None
    return 0


async def create_branch(session: Session, words: Words) -> int:
    options = Options(words, {}, {})
    if len(options.rest) != 3:
        raise Failure('fatal: Argument "PROJECT NAME REVISION" is required\n')
    async with session.site.lock:
        project, branch, revision = options.rest
        await projects.create_branch(session.site, project, branch, revision, session.account)
    return 0


async def set_head(session: Session, words: Words) -> int:
    options = Options(words, {}, _spelled("new-head"))
    async with session.site.lock:
        await projects.set_head(
            session.site, options.rest[0] if options.rest else "", options.one("new-head"), session.account
        )
    return 0


# ---------------------------------------------------------------------- accounts


async def create_account(session: Session, words: Words) -> int:
    valued = _spelled("full-name", "email", "http-password", "ssh-key", "group", g="group")
    options = Options(words, {}, valued)
    site = session.site
    if not site.may(session.account, "administrate"):
        raise Failure("create account not permitted\n")
    if not options.rest:
        raise Failure('fatal: Argument "USERNAME" is required\n')
    username, key = options.rest[0], options.one("ssh-key")
    if key == "-":
        key = (await session.process.stdin.read()).decode().strip()
    if key and not is_ssh_key(key):
        raise Failure("fatal: Invalid SSH Key\n")
    async with site.lock:
        if site.account_by_name(username):
            raise Failure(f"fatal: username '{username}' already exists\n")
        name, email = options.one("full-name"), options.one("email")
        account = site.new_account(username, name=name, email=email, ssh_keys=(key,) if key else ())
        if options.one("http-password"):
            account = site.set_password(account, options.one("http-password"))
        for name in options.values.get("group", ()):
            group = site.find_group(name)
            site.set_members(group, (*group.members, account.id))
    return 0


async def set_members(session: Session, words: Words) -> int:
    options = Options(words, {}, _spelled("add", "remove", a="add", r="remove"))
    site = session.site
    if not site.may(session.account, "administrate"):
        raise Failure("fatal: not permitted\n")
    async with site.lock:
        for word in options.rest:
            added = [site.find_account(name) for name in options.values.get("add", ())]
            removed = {site.find_account(name).id for name in options.values.get("remove", ())}
            group = site.find_group(word)
            members = [number for number in group.members if number not in removed]
            site.set_members(group, [*members, *(account.id for account in added)])
            if added:
                names = ", ".join(account.email or account.username for account in added)
                session.say(f"Members added to group {group.name}: {names}\n")
    return 0


COMMANDS: dict[str, Callable[[Session, Words], Awaitable[int]]] = {
    "version": version,
    "stream-events": stream_events,
    "query": run_query,
    "review": review,
    "set-topic": set_topic,
    "set-reviewers": set_reviewers,
    "ls-projects": ls_projects,
    "create-project": create_project,
    "create-branch": create_branch,
    "set-head": set_head,
    "create-account": create_account,
    "set-members": set_members,
}
