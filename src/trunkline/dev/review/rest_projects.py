"""REST below /projects/ and /config/."""

import base64
from typing import Any

from trunkline.dev.review import describe_rest as shape
from trunkline.dev.review import projects
from trunkline.dev.review.model import Refused, not_found
from trunkline.dev.review.repo import Repo
from trunkline.dev.review.rest import NOTHING, Answer, Asked, Raw, route
from trunkline.dev.review.rules import LABELS
from trunkline.dev.review.site import VERSION, encoded


def _project(asked: Asked) -> str:
    name = asked.parts["project"]
    if name not in asked.site.projects:
        raise not_found(name)
    return name


def _repo(asked: Asked) -> Repo:
    return asked.site.repo(_project(asked))


@route("GET", "config/server/version")
async def version(asked: Asked) -> Answer:
    return Answer(VERSION)


@route("GET", "config/server/info")
async def info(asked: Asked) -> Answer:
    change: dict[str, Any] = {
        "allow_blame": True,
        "update_delay": 300,
        "mergeability_computation_behavior": "NEVER",
        "conflicts_predicate_enabled": True,
    }
    if asked.site.submit_whole_topic:
        change["submit_whole_topic"] = True
    return Answer(
        {
            "accounts": {"visibility": "ALL", "default_display_name": "FULL_NAME"},
            "auth": {"auth_type": "HTTP", "git_basic_auth_policy": "HTTP"},
            "change": change,
            "download": {"schemes": {"anonymous http": {"url": f"{asked.site.url}/${{project}}"}}, "archives": []},
            "gerrit": {"all_projects": "All-Projects", "all_users": "All-Users", "doc_search": False},
            "note_db_enabled": True,
            "plugin": {"js_resource_paths": []},
            "sshd": {},
            "suggest": {"from": 0},
            "user": {"anonymous_coward_name": "Name of user not set"},
            "receive": {"enable_signed_push": False},
        }
    )


@route("GET", "plugins")
async def plugins(asked: Asked) -> Answer:
    return Answer({})


@route("GET", "projects")
async def list_them(asked: Asked) -> Answer:
    prefix, match = asked.one("p", "prefix") or "", (asked.one("m", "match") or "").lower()
    names = [name for name in sorted(asked.site.projects) if name.startswith(prefix) and match in name.lower()]
    start, size = int(asked.one("S", "start") or 0), int(asked.one("n", "limit") or len(names))
    shown = {}
    for name in names[start : start + size]:
        entry = {"id": encoded(name)}
        if asked.has("d", "description") and asked.site.projects[name].description:
            entry["description"] = asked.site.projects[name].description
        shown[name] = entry | {"state": "ACTIVE"}
    return Answer(shown)


@route("GET", "projects/{project}")
async def one(asked: Asked) -> Answer:
    return Answer(shape.project(asked.site.projects[_project(asked)]))


@route("PUT", "projects/{project}")
async def create(asked: Asked) -> Answer:
    fields = asked.fields
    value = await projects.create(
        asked.site,
        asked.parts["project"],
        asked.by,
        fields.get("branches") or (),
        str(fields.get("description") or ""),
        fields.get("submit_type"),
        bool(fields.get("create_empty_commit")),
    )
    return Answer(shape.project(value), 201)


@route("GET", "projects/{project}/description")
async def description(asked: Asked) -> Answer:
    return Answer(asked.site.projects[_project(asked)].description)


@route("PUT", "projects/{project}/description")
async def set_description(asked: Asked) -> Answer:
    text = str(asked.fields.get("description", ""))
    await projects.update_description(asked.site, _project(asked), text, asked.by)
    return Answer(text)


@route("GET", "projects/{project}/labels")
async def labels(asked: Asked) -> Answer:
    name = _project(asked)
    shown = []
    for label in LABELS.values():
        values = {f"{number:+d}" if number else " 0": text for number, text in label.values.items()}
        entry = {"name": label.name, "project_name": name, "function": "NoBlock", "values": values, "default_value": 0}
        shown.append(entry | {"can_override": True, "copy_condition": label.copy_condition, "allow_post_submit": True})
    return Answer(shown)


@route("GET", "projects/{project}/HEAD")
async def head(asked: Asked) -> Answer:
    return Answer(await _repo(asked).head())


@route("PUT", "projects/{project}/HEAD")
async def set_head(asked: Asked) -> Answer:
    return Answer(await projects.set_head(asked.site, _project(asked), str(asked.fields.get("ref", "")), asked.by))


# ---------------------------------------------------------------------- branches


@route("GET", "projects/{project}/branches")
async def branches(asked: Asked) -> Answer:
    repo = _repo(asked)
    entries = [{"ref": "HEAD", "revision": (await repo.head()).removeprefix("refs/heads/")}]
    entries += [{"ref": ref, "revision": sha} for ref, sha in (await repo.refs("refs/heads/")).items()]
    return Answer(_page(asked, entries))


def _page(asked: Asked, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    start, size = int(asked.one("s", "S", "start") or 0), int(asked.one("n", "limit") or len(entries))
    return entries[start : start + size]


def _branch_ref(asked: Asked) -> str:
    return f"refs/heads/{asked.parts['branch'].removeprefix('refs/heads/')}"


@route("GET", "projects/{project}/branches/{branch}")
async def branch(asked: Asked) -> Answer:
    repo = _repo(asked)
    if asked.parts["branch"] == "HEAD":
        return Answer({"ref": "HEAD", "revision": (await repo.head()).removeprefix("refs/heads/")})
    ref = _branch_ref(asked)
    sha = await repo.ref(ref)
    if sha is None:
        raise not_found(asked.parts["branch"])
    return Answer({"ref": ref, "revision": sha})


@route("PUT", "projects/{project}/branches/{branch}")
async def create_branch(asked: Asked) -> Answer:
    revision = str(asked.fields.get("revision") or "")
    sha = await projects.create_branch(asked.site, _project(asked), asked.parts["branch"], revision, asked.by)
    return Answer({"ref": _branch_ref(asked), "revision": sha, "can_delete": True}, 201)


@route("DELETE", "projects/{project}/branches/{branch}")
async def delete_branch(asked: Asked) -> Answer:
    await projects.delete_branch(asked.site, _project(asked), asked.parts["branch"], asked.by)
    return NOTHING


@route("GET", "projects/{project}/branches/{branch}/files/{file}/content")
async def content(asked: Asked) -> Raw:
    return Raw(base64.b64encode(await _blob(asked, _branch_ref(asked))))


async def _blob(asked: Asked, revision: str) -> bytes:
    repo = _repo(asked)
    path = asked.parts["file"]
    if not (await repo.git("ls-tree", revision, "--", path, ok=(0, 128))).strip():
        raise not_found(path)
    return (await repo.git("cat-file", "blob", f"{revision}:{path}")).encode()


# ---------------------------------------------------------------------- tags


@route("GET", "projects/{project}/tags")
async def tags(asked: Asked) -> Answer:
    repo = _repo(asked)
    found = await repo.refs("refs/tags/")
    return Answer(_page(asked, [await _tag(repo, ref, sha) for ref, sha in found.items()]))


async def _tag(repo: Repo, ref: str, sha: str) -> dict[str, Any]:
    commit = await repo.resolve(sha)
    if commit == sha or commit is None:
        return {"created": shape.when((await repo.commit(sha)).committer.at), "ref": ref, "revision": sha}
    text = await repo.git("cat-file", "tag", sha)
    message = text.partition("\n\n")[2].rstrip("\n")
    return {"object": commit, "message": message, "ref": ref, "revision": sha}


@route("GET", "projects/{project}/tags/{tag}")
async def tag(asked: Asked) -> Answer:
    repo, ref = _repo(asked), f"refs/tags/{asked.parts['tag'].removeprefix('refs/tags/')}"
    sha = await repo.ref(ref)
    if sha is None:
        raise not_found(asked.parts["tag"])
    return Answer(await _tag(repo, ref, sha))


@route("PUT", "projects/{project}/tags/{tag}")
async def create_tag(asked: Asked) -> Answer:
    project, name, fields = _project(asked), asked.parts["tag"], asked.fields
    revision, message = str(fields.get("revision") or ""), str(fields.get("message") or "")
    await projects.create_tag(asked.site, project, name, revision, message, asked.by)
    ref = f"refs/tags/{name.removeprefix('refs/tags/')}"
    sha = await _repo(asked).ref(ref)
    if sha is None:
        raise Refused(409, "tag vanished")
    return Answer(await _tag(_repo(asked), ref, sha) | {"can_delete": True}, 201)


@route("DELETE", "projects/{project}/tags/{tag}")
async def delete_tag(asked: Asked) -> Answer:
    await projects.delete_tag(asked.site, _project(asked), asked.parts["tag"], asked.by)
    return NOTHING


@route("GET", "projects/{project}/commits/{commit}")
async def commit(asked: Asked) -> Answer:
    sha = await _repo(asked).resolve(asked.parts["commit"])
    if sha is None:
        raise not_found(asked.parts["commit"])
    return Answer(await shape.commit(asked.site, _project(asked), sha))
