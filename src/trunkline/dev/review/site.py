"""The site: all state in memory, written to the journal and to git before anybody is told."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from trunkline.dev.review.hub import Hub
from trunkline.dev.review.journal import Entry, Journal
from trunkline.dev.review.model import NO_SHA, Account, Change, Group, Message, Project, Refused, not_found
from trunkline.dev.review.repo import EMPTY_TREE, Person, Repo
from trunkline.dev.review.rules import ADMINISTRATORS, CORE, SERVICE_USERS, may

FIRST_ACCOUNT = 1_000_000
VERSION = "3.13.5"
_KINDS: dict[str, type[msgspec.Struct]] = {"account": Account, "group": Group, "project": Project, "change": Change}
_NOBODY: frozenset[str] = frozenset()


class Site:
    """`url` (no slash at its end) and `ssh_port` are set once the servers listen.

    `lock` is held by whoever acts, from reading what he changes until it is written: one action at a time.
    """

    def __init__(self, folder: Path, submit_whole_topic: bool = False) -> None:
        self.folder = folder
        self.submit_whole_topic = submit_whole_topic
        self.url = ""
        self.ssh_host = ""
        self.ssh_port = 0
        self.hub = Hub()
        self.accounts: dict[int, Account] = {}
        self.groups: dict[str, Group] = {}
        self.projects: dict[str, Project] = {}
        self.changes: dict[int, Change] = {}
        self.by_sha: dict[tuple[str, str], tuple[int, int]] = {}
        self.lock = asyncio.Lock()
        self.server_id = ""
        self._repos: dict[str, Repo] = {}
        self._usernames: dict[str, int] = {}
        self._next_number = 1
        self._journal = Journal(folder / "journal.jsonl")
        self.git_config = folder / "gitconfig"
        self.hooks = folder / "hooks"

    # ------------------------------------------------------------------ opening

    async def open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._load()
        self._write_git_config()
        if not self.server_id:
            self.server_id = str(secrets.token_hex(16))
        for name in (ADMINISTRATORS, SERVICE_USERS, CORE):
            if name not in self.groups:
                self._put_group(name)
        self._journal.start(self._everything())
        await self._settle_landings()

    def _load(self) -> None:
        for kind, key, value in self._journal.replay():
            if kind == "site":
                self.server_id = str(value["server_id"])
                self._next_number = max(self._next_number, int(value["next_number"]))
            else:
                self._remember(kind, key, None if value is None else msgspec.convert(value, _KINDS[kind]))

    def _everything(self) -> Iterable[Entry]:
        yield "site", "", {"server_id": self.server_id, "next_number": self._next_number}
        for account in self.accounts.values():
            yield "account", str(account.id), account
        for group in self.groups.values():
            yield "group", group.name, group
        for project in self.projects.values():
            yield "project", project.name, project
        for change in self.changes.values():
            yield "change", str(change.number), change

    def _remember(self, kind: str, key: str, value: msgspec.Struct | None) -> None:
        match value:
            case Account():
                self.accounts[value.id] = value
                self._usernames[value.username] = value.id
            case Group():
                self.groups[value.name] = value
            case Project():
                self.projects[value.name] = value
            case Change():
                self.changes[value.number] = value
                self._next_number = max(self._next_number, value.number + 1)
                for patchset in value.patchsets:
                    self.by_sha[value.project, patchset.sha] = (value.number, patchset.number)
            case None if kind == "change":
                self.changes.pop(int(key), None)
            case _:
                raise AssertionError(kind)

    def _write_git_config(self) -> None:
        self.hooks.mkdir(exist_ok=True)
        program = Path(__file__).with_name("receive_hook.py")
        hook = self.hooks / "proc-receive"
        hook.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(program))}\n")
        hook.chmod(0o755)
        self.git_config.write_text(
            "[core]\n\thooksPath = " + str(self.hooks.resolve()) + "\n"
            "[receive]\n\tprocReceiveRefs = refs/\n\tadvertisePushOptions = true\n\tautogc = false\n"
            "[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n"
            "[gc]\n\tauto = 0\n[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = master\n"
        )

    async def _settle_landings(self) -> None:
        """A crash between moving a branch and writing that its changes merged: the branch is right."""
        for change in [change for change in self.changes.values() if change.is_open]:
            repo = self.repo(change.project)
            tip = await repo.ref(f"refs/heads/{change.branch}")
            if tip and await repo.is_ancestor(change.current.sha, tip):
                now = time.time()
                merged = msgspec.structs.replace(change, status="MERGED", submitted=now, updated=now)
                self.save(merged)

    def close(self) -> None:
        self._journal.close()

    # ------------------------------------------------------------------ writing

    def save(self, *values: msgspec.Struct) -> None:
        """Make the values the state, on the disk and here."""
        entries: list[Entry] = []
        for value in values:
            match value:
                case Account():
                    entries.append(("account", str(value.id), value))
                case Group() | Project():
                    entries.append((type(value).__name__.lower(), value.name, value))
                case Change():
                    entries.append(("change", str(value.number), value))
        self._journal.write(entries)
        for value, (kind, key, _) in zip(values, entries, strict=True):
            self._remember(kind, key, value)

    def forget(self, change: Change) -> None:
        self._journal.write([("change", str(change.number), None)])
        self._remember("change", str(change.number), None)

    def next_number(self) -> int:
        """A fresh change number; refused pushes use them up too."""
        number = self._next_number
        self._next_number += 1
        return number

    def stage(
        self,
        change: Change,
        actor: Account | None,
        title: str,
        text: str = "",
        tag: str = "",
        trailers: Mapping[str, str] | None = None,
        at: float | None = None,
    ) -> Change:
        """The change with one more commit on its meta ref, and with the message that this brings (if text is given).

        Writes the commit only: refs and journal follow in `commit`.
        """
        at = time.time() if at is None else at
        patchset = change.current.number
        lines = [title, "", *([text, ""] if text else []), f"Patch-set: {patchset}"]
        lines += [f"{name}: {value}" for name, value in (trailers or {}).items()]
        if tag:
            lines.append(f"Tag: {tag}")
        author = Person("Gerrit Code Review", "root@localhost", int(at))
        server = author
        if actor is not None:
            author = Person(f"Gerrit User {actor.id}", f"{actor.id}@{self.server_id}", int(at))
        repo = self.repo(change.project)
        parents = () if change.meta == NO_SHA else (change.meta,)
        meta = repo.write_commit(EMPTY_TREE, parents, author, server, "\n".join(lines) + "\n")
        messages = change.messages
        if text:
            author_id = actor.id if actor else None
            messages += (Message(meta, author_id, float(int(at)), text, patchset, tag),)
        return msgspec.structs.replace(change, meta=meta, messages=messages, updated=float(int(at)))

    # ------------------------------------------------------------------ accounts and groups

    def account_by_name(self, username: str) -> Account | None:
        number = self._usernames.get(username)
        return self.accounts[number] if number is not None else None

    def find_account(self, word: str, asking: Account | None = None) -> Account:
        """By `self`, number, username, email or full name. Raises Refused."""
        if word == "self":
            if asking is None:
                raise Refused(403, "Resolving account 'self' requires login")
            return asking
        by_name = self.account_by_name(word)
        if by_name:
            return by_name
        for account in self.accounts.values():
            if word in {str(account.id), account.email, account.name, f"{account.name} <{account.email}>"}:
                return account
        raise not_found(word)

    def new_account(self, username: str, **fields: object) -> Account:
        number = max(self.accounts, default=FIRST_ACCOUNT - 1) + 1
        account = msgspec.structs.replace(
            Account(id=number, username=username, registered=float(int(time.time()))), **fields
        )
        self.save(account)
        return account

    def _put_group(self, name: str) -> Group:
        number = max((group.id for group in self.groups.values()), default=0) + 1
        uuid = hashlib.sha1(f"{self.server_id}{name}".encode()).hexdigest()
        group = Group(number, uuid, name, created=float(int(time.time())))
        self.groups[name] = group
        return group

    def new_group(self, name: str, description: str = "") -> Group:
        group = msgspec.structs.replace(self._put_group(name), description=description)
        self.save(group)
        return group

    def find_group(self, word: str) -> Group:
        for group in self.groups.values():
            if word in {group.name, group.uuid, str(group.id)}:
                return group
        raise not_found(word)

    def set_members(self, group: Group, members: Iterable[int]) -> Group:
        group = msgspec.structs.replace(group, members=tuple(dict.fromkeys(members)))
        self.save(group)
        return group

    def groups_of(self, account: Account | None) -> frozenset[str]:
        if account is None:
            return _NOBODY
        return frozenset(group.name for group in self.groups.values() if account.id in group.members)

    def may(self, account: Account | None, what: str) -> bool:
        return may(self.groups_of(account), what)

    def is_service_user(self, account: Account) -> bool:
        return account.id in self.groups[SERVICE_USERS].members

    def set_password(self, account: Account, password: str) -> Account:
        salt = secrets.token_hex(8)
        account = msgspec.structs.replace(account, password=f"{salt}${_digest(salt, password)}")
        self.save(account)
        return account

    def password_holds(self, username: str, password: str) -> Account | None:
        """The account if the password is its own and it is active."""
        account = self.account_by_name(username)
        if account is None or not account.is_active or "$" not in account.password:
            return None
        salt, _, digest = account.password.partition("$")
        return account if hmac.compare_digest(digest, _digest(salt, password)) else None

    def key_holds(self, username: str, key: str) -> bool:
        """Whether `TYPE BASE64` is one of the account's keys."""
        account = self.account_by_name(username)
        wanted = key.split()[:2]
        return bool(account and account.is_active and any(stored.split()[:2] == wanted for stored in account.ssh_keys))

    # ------------------------------------------------------------------ projects and changes

    def repo(self, project: str) -> Repo:
        if project not in self._repos:
            if project not in self.projects:
                raise not_found(project)
            self._repos[project] = Repo(self.folder / "git" / f"{project}.git", self.git_config)
        return self._repos[project]

    def git_environment(self) -> dict[str, str]:
        return {"GIT_CONFIG_GLOBAL": str(self.git_config), "GIT_CONFIG_NOSYSTEM": "1"}

    def may_see(self, change: Change, account: Account | None) -> bool:
        if not change.is_private:
            return True
        if account is None:
            return False
        its = {change.owner, *change.reviewers, *change.ccs}
        return account.id in its or self.may(account, "see private")

    def find_changes(self, word: str, account: Account | None) -> list[Change]:
        """By NUMBER, PROJECT~NUMBER, PROJECT~BRANCH~Change-Id or Change-Id (percent-encoded parts), newest first."""
        parts = [unquote(part) for part in word.split("~")]
        if len(parts) == 1 and parts[0].isdigit():
            found = [self.changes[int(parts[0])]] if int(parts[0]) in self.changes else []
        elif len(parts) == 1:
            found = [change for change in self.changes.values() if change.change_id == parts[0]]
        elif len(parts) == 2 and parts[1].isdigit():
            found = [self.changes[int(parts[1])]] if int(parts[1]) in self.changes else []
            found = [change for change in found if change.project == parts[0]]
        else:
            wanted = tuple(parts)
            found = [c for c in self.changes.values() if (c.project, c.branch, c.change_id) == wanted]
        found = [change for change in found if self.may_see(change, account)]
        return sorted(found, key=lambda change: -change.number)

    def find_change(self, word: str, account: Account | None) -> Change:
        found = self.find_changes(word, account)
        if len(found) > 1:
            raise Refused(404, f"Multiple changes found for {word}")
        if not found:
            raise not_found(word)
        return found[0]

    def change_url(self, change: Change) -> str:
        return f"{self.url}/c/{change.project}/+/{change.number}"

    def server_identity(self, at: float | None = None) -> Person:
        return Person("Gerrit Code Review", "root@localhost", int(time.time() if at is None else at))

    def identity(self, account: Account, at: float | None = None) -> Person:
        return Person(account.name or account.username, account.email, int(time.time() if at is None else at))


def _digest(salt: str, password: str) -> str:
    # Fast on purpose: checked on every request, and guards a development server's own accounts.
    return hashlib.sha256(f"{salt}:{password}".encode()).hexdigest()


def is_ssh_key(text: str) -> bool:
    """Whether the text looks like a public key line that OpenSSH writes."""
    words = text.split()
    if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-", "sk-")):
        return False
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    return words[0].encode() in blob[:64]


def encoded(name: str) -> str:
    return quote(name, safe="")


def private_file(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
