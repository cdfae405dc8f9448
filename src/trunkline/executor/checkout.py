"""Where projects stand in the workspace, and which branch or tag is checked out. Pure."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote_plus

from trunkline.executor.request import BuildRequest, ProjectInfo, WorkspaceMissing


def src_dir(scheme: str, canonical_hostname: str, name: str) -> str:
    """The project's directory below the work root, by workspace-scheme."""
    if scheme == "flat":
        return f"src/{short_name(name)}"
    if scheme == "unique":
        parent, _slash, _last = name.rpartition("/")
        return "/".join(part for part in ("src", canonical_hostname, parent, quote_plus(name)) if part)
    return f"src/{canonical_hostname}/{name}"


def short_name(name: str) -> str:
    return name.rpartition("/")[2]


def choose_ref(
    request: BuildRequest,
    project: ProjectInfo,
    refs: Collection[str],
    *,
    item_branch: str | None = None,
    use_item_ref: bool = True,
) -> tuple[str, str]:
    """The full ref to check out and the reason for it, the first that exists (Zuul's order of overrides).

    item_branch stands in for the branch of an item that has none (a playbook's branch, for its roles).
    Raises WorkspaceMissing.
    """
    job, change = request.job, request.change
    own = use_item_ref and project.canonical_name == change.canonical_name
    named = [
        (project.override_checkout, "project override ref"),
        (project.override_branch, "project override branch"),
        (job.override_checkout, "job override ref"),
        (job.override_branch, "job override branch"),
    ]
    for name, reason in named:
        found = name and _existing(name, refs)
        if found:
            return found, reason
    if own and change.branch is None and change.ref in refs:
        return change.ref, "tag ref" if change.tag else "zuul ref"
    for name, reason in (
        (change.branch or item_branch, "zuul branch"),
        (project.default_branch, "project default branch"),
    ):
        if name and f"refs/heads/{name}" in refs:
            return f"refs/heads/{name}", reason
    raise WorkspaceMissing(
        f"Project {project.canonical_name} does not have the default branch {project.default_branch}"
    )


def _existing(name: str, refs: Collection[str]) -> str | None:
    candidates = [name] if name.startswith("refs/") else [f"refs/heads/{name}", f"refs/tags/{name}"]
    return next((ref for ref in candidates if ref in refs), None)


def shown(ref: str) -> str:
    """A full ref as `zuul.projects` shows it."""
    for prefix in ("refs/heads/", "refs/tags/"):
        if ref.startswith(prefix):
            return ref.removeprefix(prefix)
    return ref
