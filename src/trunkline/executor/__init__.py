"""One build: from a frozen job and its nodes to a result.

What happens here: a build directory is laid out, the workspace is prepared (by the git room, behind a protocol), the
inventory and the `zuul` variables are written, Ansible runs each playbook in a sandbox, the console streams line by
line, and what the job returned becomes a BuildOutcome.

Lives here: everything between BuildRequest and BuildOutcome. Does not: the database, the choice of what to build,
decryption of secrets, git plumbing. The room never asks who called it.

Nouns: *request* (what to build), *site* (how this executor is set up), *job directory* (all of a build's files),
*runner* (a warm Ansible process in a sandbox), *broker* (the only way from a sandbox to a node), *outcome*.
"""

from trunkline.executor.request import (
    ArtifactInfo,
    BuildControl,
    BuildOutcome,
    BuildPrivate,
    BuildRequest,
    BuildSink,
    Checkout,
    ExecutorSite,
    GitSource,
    NodeInfo,
    ProjectInfo,
    RefInfo,
    WorkspaceBroken,
    WorkspaceConflict,
    WorkspaceMissing,
    Workspaces,
)

__all__ = [
    "ArtifactInfo",
    "BuildControl",
    "BuildOutcome",
    "BuildPrivate",
    "BuildRequest",
    "BuildSink",
    "Checkout",
    "ExecutorSite",
    "GitSource",
    "NodeInfo",
    "ProjectInfo",
    "RefInfo",
    "WorkspaceBroken",
    "WorkspaceConflict",
    "WorkspaceMissing",
    "Workspaces",
]
