"""Repositories: bare clones kept up to date, and futures made of them.

A speculative merge is a pure function of commits: fixed identity, fixed dates, so that the same changes on the same
tips give the same commit ids wherever they are merged. Merger and executor therefore never ship a future to each
other: both compute it and compare ids. Merges run on bare repositories, without a work tree.

Nouns: a *store* is a directory of bare repositories, one a project; a *source* says how to fetch one; a *step* is one
change (or branch tip) to put on top of what stands; a *future* is what all steps give; *workspace* a clone for a build.

Data comes from the services (what to merge) and git servers; goes back as commit ids, files, work trees.
"""

from trunkline.git.future import Conflict, Future, Identity, Step, merge_future
from trunkline.git.source import GitFailed, GitSource
from trunkline.git.store import RepoStore

__all__ = ["Conflict", "Future", "GitFailed", "GitSource", "Identity", "RepoStore", "Step", "merge_future"]
