"""One project's repository: real git, bare, asked by subprocess; objects that the site itself makes are written here."""

import asyncio
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from trunkline.dev.review.model import NO_SHA

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_TIMEOUT_S = 120.0
_HEADER = re.compile(r"^(?P<name>.*) <(?P<email>.*)> (?P<at>\d+) (?P<zone>[+-]\d{4})$")


class GitFailed(Exception):
    def __init__(self, command: str, status: int, text: str) -> None:
        super().__init__(f"git {command}: {status}: {text}")
        self.status = status
        self.text = text


class MergeConflict(Exception):
    def __init__(self, files: list[str]) -> None:
        super().__init__(", ".join(files))
        self.files = files


class Person(msgspec.Struct, frozen=True):
    name: str
    email: str
    at: int
    zone: str = "+0000"

    def header(self) -> str:
        return f"{self.name} <{self.email}> {self.at} {self.zone}"


class Commit(msgspec.Struct, frozen=True):
    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str

    @property
    def subject(self) -> str:
        return " ".join(self.message.strip().split("\n\n", 1)[0].split("\n")) if self.message.strip() else ""


class FileDiff(msgspec.Struct, frozen=True):
    path: str
    status: str
    old_mode: int
    new_mode: int
    old_blob: str
    new_blob: str
    inserted: int
    deleted: int
    size: int
    size_delta: int
    old_path: str | None = None
    is_binary: bool = False


def git_environment(config: Path, **more: str) -> dict[str, str]:
    """Nothing of the person's own git configuration reaches the server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"} | more


class Repo:
    def __init__(self, path: Path, config: Path) -> None:
        self.path = path
        self.config = config
        self._commits: dict[str, Commit] = {}
        self._diffs: dict[tuple[str, int], list[FileDiff]] = {}

    async def git(self, *args: str, stdin: bytes | None = None, ok: tuple[int, ...] = (0,)) -> str:
        """Standard output of one git command. Raises GitFailed for a status that is not ok."""
        process = await asyncio.create_subprocess_exec(
            "git",
            *args,
            cwd=self.path,
            env=git_environment(self.config),
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin), _TIMEOUT_S)
        if process.returncode not in ok:
            raise GitFailed(args[0], process.returncode or 0, err.decode(errors="replace"))
        return out.decode(errors="replace")

    async def create(self, head: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        await self.git("init", "-q", "--bare", f"--initial-branch={head}")

    # ------------------------------------------------------------------ reading

    async def refs(self, *prefixes: str) -> dict[str, str]:
        out = await self.git("for-each-ref", "--format=%(objectname) %(refname)", *prefixes)
        return {ref: sha for sha, _, ref in (line.partition(" ") for line in out.splitlines())}

    async def ref(self, name: str) -> str | None:
        out = await self.git("rev-parse", "-q", "--verify", name, ok=(0, 1, 128))
        return out.strip() or None

    async def head(self) -> str:
        """The full ref that HEAD names."""
        return (await self.git("symbolic-ref", "HEAD")).strip()

    async def commit(self, sha: str) -> Commit:
        if sha not in self._commits:
            self._commits[sha] = _parsed(sha, await self.git("cat-file", "commit", sha))
        return self._commits[sha]

    async def resolve(self, revision: str) -> str | None:
        """The commit that a branch, tag or sha names."""
        out = await self.git("rev-parse", "-q", "--verify", f"{revision}^{{commit}}", ok=(0, 1, 128))
        return out.strip() or None

    async def is_ancestor(self, old: str, new: str) -> bool:
        try:
            await self.git("merge-base", "--is-ancestor", old, new)
        except GitFailed:
            return False
        return True

    async def new_commits(self, tip: str, excluded: Iterable[str]) -> list[str]:
        """Commits of tip that none of the excluded reach, parents first."""
        revisions = [tip, *(f"^{sha}" for sha in excluded)]
        out = await self.git("rev-list", "--topo-order", "--reverse", "--stdin", stdin="\n".join(revisions).encode())
        return out.split()

    async def diff(self, sha: str, parent: int = 1) -> list[FileDiff]:
        """What a commit changes against one of its parents; of a merge against both (parent 0: conflicts resolved)."""
        if (sha, parent) not in self._diffs:
            commit = await self.commit(sha)
            if parent == 0 and len(commit.parents) > 1:
                base = await self._auto_merge(commit)
            else:
                base = commit.parents[max(parent, 1) - 1] if commit.parents else EMPTY_TREE
            self._diffs[sha, parent] = await self._diffs_between(base, sha)
        return self._diffs[sha, parent]

    async def _auto_merge(self, commit: Commit) -> str:
        """The tree that git would have made of the merge's parents, conflict marks included."""
        out = await self.git("merge-tree", "--write-tree", commit.parents[0], commit.parents[1], ok=(0, 1))
        return out.split("\n", 1)[0].strip()

    async def _diffs_between(self, old: str, new: str) -> list[FileDiff]:
        raw = await self.git("diff-tree", "-r", "-M", "--raw", "--numstat", "-z", "--no-abbrev", old, new)
        diffs = _parsed_diff(raw)
        blobs = [blob for diff in diffs for blob in (diff.old_blob, diff.new_blob) if blob != NO_SHA]
        sizes = await self._sizes(blobs)
        return [
            msgspec.structs.replace(
                diff,
                size=sizes.get(diff.new_blob, 0),
                size_delta=sizes.get(diff.new_blob, 0) - sizes.get(diff.old_blob, 0),
            )
            for diff in diffs
        ]

    async def _sizes(self, blobs: list[str]) -> dict[str, int]:
        if not blobs:
            return {}
        out = await self.git(
            "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=("\n".join(blobs) + "\n").encode()
        )
        return {parts[0]: int(parts[1]) for parts in (line.split() for line in out.splitlines()) if parts[1].isdigit()}

    async def patch_id(self, sha: str) -> str:
        """What the commit changes, whatever it stands on."""
        diff = await self.git("diff-tree", "-p", "--root", sha)
        out = await self.git("patch-id", "--stable", stdin=diff.encode())
        return out.split(" ")[0].strip()

    # ------------------------------------------------------------------ writing

    def write_object(self, kind: str, body: bytes) -> str:
        """Store a loose object, as git would; returns its id."""
        data = f"{kind} {len(body)}\0".encode() + body
        sha = hashlib.sha1(data).hexdigest()  # git's object ids are SHA-1
        path = self.path / "objects" / sha[:2] / sha[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            fresh = path.with_name(f"tmp_obj_{os.getpid()}_{sha[2:]}")
            fresh.write_bytes(zlib.compress(data, 1))
            fresh.chmod(0o444)
            fresh.replace(path)
        return sha

    def write_commit(self, tree: str, parents: Iterable[str], author: Person, committer: Person, message: str) -> str:
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"author {author.header()}", f"committer {committer.header()}", "", message]
        return self.write_object("commit", "\n".join(lines).encode())

    async def update_refs(self, updates: Mapping[str, tuple[str | None, str]]) -> None:
        """{ref: (old or None for "whatever", new)}; all or none. Raises GitFailed."""
        lines = []
        for ref, (old, new) in updates.items():
            if new == NO_SHA:
                lines.append(f"delete {ref}" + (f" {old}" if old else ""))
            else:
                lines.append(f"update {ref} {new}" + (f" {old}" if old is not None else ""))
        await self.git("update-ref", "--stdin", stdin=("\n".join(lines) + "\n").encode())

    async def merge(self, ours: str, theirs: str) -> str:
        """The tree of a merge. Raises MergeConflict."""
        out = await self.git("merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs, ok=(0, 1))
        tree, *files = out.strip().split("\n")
        if files:
            raise MergeConflict(sorted(set(files)))
        return tree

    async def rebased_tree(self, commit: Commit, onto: str) -> str:
        """The tree of the commit's change made on another parent. Raises MergeConflict.

        A merge of the new parent with the commit, in a history made up so that the commit's own parent is the base.
        """
        base = self._bare_commit((await self.commit(commit.parents[0])).tree, ())
        ours = self._bare_commit((await self.commit(onto)).tree, (base,))
        return await self.merge(ours, self._bare_commit(commit.tree, (base,)))

    def _bare_commit(self, tree: str, parents: tuple[str, ...]) -> str:
        nobody = Person("Gerrit Code Review", "root@localhost", 0)
        return self.write_commit(tree, parents, nobody, nobody, "A step of a rebase\n")


def _person(text: str) -> Person:
    found = _HEADER.match(text)
    if not found:
        return Person(text, "", 0)
    return Person(found["name"], found["email"], int(found["at"]), found["zone"])


def _parsed(sha: str, text: str) -> Commit:
    head, _, message = text.partition("\n\n")
    fields: dict[str, str] = {}
    parents: list[str] = []
    for line in head.split("\n"):
        name, _, value = line.partition(" ")
        if name == "parent":
            parents.append(value)
        else:
            fields.setdefault(name, value)
    return Commit(
        sha=sha,
        tree=fields["tree"],
        parents=tuple(parents),
        author=_person(fields["author"]),
        committer=_person(fields["committer"]),
        message=message,
    )


def _parsed_diff(raw: str) -> list[FileDiff]:
    """`diff-tree --raw --numstat -z`: first the raw entries, then the counts, in the same order."""
    words = raw.split("\0")
    entries: list[tuple[list[str], str, str | None]] = []
    position = 0
    while position < len(words) and words[position].startswith(":"):
        facts = words[position][1:].split(" ")
        if facts[4][0] in "RC":
            entries.append((facts, words[position + 2], words[position + 1]))
            position += 3
        else:
            entries.append((facts, words[position + 1], None))
            position += 2
    diffs = []
    for facts, path, old_path in entries:
        counts = words[position].split("\t")
        position += 1 if old_path is None else 3
        is_binary = counts[0] == "-"
        diffs.append(
            FileDiff(
                path=path,
                status=facts[4][0],
                old_mode=int(facts[0], 8),
                new_mode=int(facts[1], 8),
                old_blob=facts[2],
                new_blob=facts[3],
                inserted=0 if is_binary else int(counts[0]),
                deleted=0 if is_binary else int(counts[1]),
                size=0,
                size_delta=0,
                old_path=old_path,
                is_binary=is_binary,
            )
        )
    return sorted(diffs, key=lambda diff: diff.path)
