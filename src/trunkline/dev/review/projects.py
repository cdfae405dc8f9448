"""Actions on projects: create, branches, tags, HEAD."""

import time
from collections.abc import Iterable

import msgspec

from trunkline.dev.review import announce
from trunkline.dev.review.model import NO_SHA, Account, Project, Refused, not_found
from trunkline.dev.review.repo import EMPTY_TREE
from trunkline.dev.review.site import Site

SUBMIT_TYPES = ("MERGE_IF_NECESSARY", "MERGE_ALWAYS", "FAST_FORWARD_ONLY")


async def create(
    site: Site,
    name: str,
    by: Account,
    branches: Iterable[str] = (),
    description: str = "",
    submit_type: str | None = None,
    with_commit: bool = False,
) -> Project:
    if not site.may(by, "administrate"):
        raise Refused(403, "create project not permitted")
    name = name.strip("/").removesuffix(".git")
    if not name or any(part in {"", ".", ".."} or part.endswith(".git") for part in name.split("/")):
        raise Refused(400, f"Invalid project name {name!r}")
    if name in site.projects:
        raise Refused(409, f'Project "{name}" already exists')
    submit_type = submit_type or SUBMIT_TYPES[0]
    if submit_type not in SUBMIT_TYPES:
        raise Refused(400, f"submit type {submit_type} is not supported here; known: {', '.join(SUBMIT_TYPES)}")
    names = [branch.removeprefix("refs/heads/") for branch in branches] or ["master"]
    value = Project(name, description, submit_type, time.time())
    site.projects[name] = value
    repo = site.repo(name)
    try:
        await repo.create(names[0])
        announce.project_event(site, "project-created", name, headName=f"refs/heads/{names[0]}")
        if with_commit:
            person = site.identity(by)
            message = "Initial empty repository\n"
            sha = repo.write_commit(EMPTY_TREE, (), person, site.server_identity(), message)
            repo.write_object("tree", b"")
            await repo.update_refs({f"refs/heads/{branch}": (None, sha) for branch in names})
    except BaseException:
        del site.projects[name]
        raise
    site.save(value)
    if with_commit:
        for branch in names:
            announce.ref(site, name, f"refs/heads/{branch}", NO_SHA, sha, by)
    return value


async def create_branch(site: Site, project: str, branch: str, revision: str, by: Account) -> str:
    """Returns the commit."""
    repo = site.repo(project)
    ref = f"refs/heads/{branch.removeprefix('refs/heads/')}"
    if not site.may(by, "create branch"):
        raise Refused(403, f"not permitted: create on {ref}")
    if await repo.ref(ref):
        raise Refused(409, f'Branch "{ref}" already exists')
    sha = await repo.resolve(revision or await repo.head())
    if sha is None:
        raise Refused(422, f'invalid revision "{revision}"')
    await repo.update_refs({ref: (NO_SHA, sha)})
    announce.ref(site, project, ref, NO_SHA, sha, by)
    return sha


async def delete_branch(site: Site, project: str, branch: str, by: Account) -> None:
    ref = f"refs/heads/{branch.removeprefix('refs/heads/')}"
    if not site.may(by, "delete branch"):
        raise Refused(403, f"not permitted: delete on {ref}")
    name = ref.removeprefix("refs/heads/")
    if any(c.is_open and (c.project, c.branch) == (project, name) for c in site.changes.values()):
        raise Refused(409, f"branch {project},{ref} has open changes")
    await _delete_ref(site, project, ref, branch, by)


async def _delete_ref(site: Site, project: str, ref: str, word: str, by: Account) -> None:
    repo = site.repo(project)
    old = await repo.ref(ref)
    if old is None:
        raise not_found(word)
    await repo.update_refs({ref: (old, NO_SHA)})
    announce.ref(site, project, ref, old, NO_SHA, by)


async def create_tag(site: Site, project: str, tag: str, revision: str, message: str, by: Account) -> None:
    repo = site.repo(project)
    ref = f"refs/tags/{tag.removeprefix('refs/tags/')}"
    if not site.may(by, "create tag"):
        raise Refused(403, f"not permitted: create on {ref}")
    if await repo.ref(ref):
        raise Refused(409, f'tag "{ref}" already exists')
    sha = await repo.resolve(revision or await repo.head())
    if sha is None:
        raise Refused(422, f'invalid revision "{revision}"')
    if message:
        head = f"object {sha}\ntype commit\ntag {ref.removeprefix('refs/tags/')}\ntagger {site.identity(by).header()}"
        sha = repo.write_object("tag", f"{head}\n\n{message.rstrip()}\n".encode())
    await repo.update_refs({ref: (NO_SHA, sha)})
    announce.ref(site, project, ref, NO_SHA, sha, by)


async def delete_tag(site: Site, project: str, tag: str, by: Account) -> None:
    if not site.may(by, "delete tag"):
        raise Refused(403, f"not permitted: delete on refs/tags/{tag}")
    await _delete_ref(site, project, f"refs/tags/{tag.removeprefix('refs/tags/')}", tag, by)


async def set_head(site: Site, project: str, branch: str, by: Account) -> str:
    if not site.may(by, "administrate"):
        raise Refused(403, "not permitted: set HEAD")
    repo = site.repo(project)
    ref = f"refs/heads/{branch.removeprefix('refs/heads/')}"
    if await repo.ref(ref) is None:
        raise Refused(422, f"Ref Not Found: {ref}")
    old = await repo.head()
    await repo.git("symbolic-ref", "HEAD", ref)
    if old != ref:
        announce.project_event(site, "project-head-updated", project, oldHead=old, newHead=ref)
    return ref


async def update_description(site: Site, project: str, text: str, by: Account) -> None:
    if not site.may(by, "administrate"):
        raise Refused(403, "not permitted: write project config")
    site.save(msgspec.structs.replace(site.projects[project], description=text))
