"""Where configuration comes from, and what a graph is frozen for."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from trunkline.config.fragment import Fragment


class SourceContext(msgspec.Struct, frozen=True, gc=False):
    """The file that text was read from. `canonical_name` is `<canonical hostname>/<project>`."""

    connection: str
    project: str
    branch: str
    path: str
    trusted: bool
    canonical_name: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """(canonical project name, branch): the unit that a change replaces."""
        return (self.canonical_name or f"{self.connection}/{self.project}", self.branch)

    def __str__(self) -> str:
        return f"{self.project}/{self.path}@{self.branch}"


class Source(msgspec.Struct, frozen=True):
    """What one project of a tenant brings to a layout.

    `branches` are all loaded branches, the default branch first, the rest sorted; `fragments` holds for each branch
    its files in the order of reading (a branch without configuration may be left out). What is left None is taken
    from the connection.
    """

    canonical_name: str
    branches: tuple[str, ...]
    fragments: Mapping[str, tuple[Fragment, ...]]
    default_branch: str = "master"
    merge_modes: frozenset[str] | None = None
    default_merge_mode: str | None = None
    problem: str | None = None


class RefKind(enum.Enum):
    CHANGE = "change"
    BRANCH = "branch"
    TAG = "tag"
    REF = "ref"


class Subject(msgspec.Struct, frozen=True):
    """One change, branch, tag or ref that an item tests.

    `branch` is the target branch (changes, branches); `ref` the full ref (tags, other refs); `containing_branches`
    are those that contain a tagged commit. `files` is None when they are not known, which matches every job.
    """

    project: str
    kind: RefKind
    branch: str | None = None
    ref: str = ""
    files: tuple[str, ...] | None = None
    containing_branches: tuple[str, ...] = ()
    key: str = ""
    triggering: bool = False
    parameters: Mapping[str, object] = {}
    image_names: tuple[str, ...] | None = None
