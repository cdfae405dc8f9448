"""One build: from a frozen job and its nodes to a result.

What happens here: a build directory is laid out, the workspace is prepared (by the git room, behind a protocol), the
inventory and the `zuul` variables are written, Ansible runs each playbook in a sandbox, the console streams line by
line, and what the job returned becomes a BuildOutcome.

Lives here: everything between BuildRequest and BuildOutcome. Does not: the database, the choice of what to build,
decryption of secrets, git plumbing. The room never asks who called it.

Nouns: *request* (what to build), *site* (how this executor is set up), *job directory* (all of a build's files),
*runner* (a warm Ansible process in a sandbox), *broker* (the only way from a sandbox to a node), *outcome*.
"""

from trunkline.executor.build import run_build
from trunkline.executor.checkout import choose_ref, src_dir
from trunkline.executor.finger import serve_console
from trunkline.executor.jobdir import clean_leftovers
from trunkline.executor.logs import keep_logs
from trunkline.executor.play import site_paths
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
from trunkline.executor.sandbox import SandboxPaths
from trunkline.executor.warm import RunnerBroken, WarmRunner

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
    "RunnerBroken",
    "SandboxPaths",
    "WarmRunner",
    "WorkspaceBroken",
    "WorkspaceConflict",
    "WorkspaceMissing",
    "Workspaces",
    "choose_ref",
    "clean_leftovers",
    "keep_logs",
    "run_build",
    "serve_console",
    "site_paths",
    "src_dir",
]
