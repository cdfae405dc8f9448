"""Routes that read the layout in force: jobs, projects, pipelines, labels, semaphores, errors, frozen jobs, keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from trunkline.web.answers import as_json, as_text, bad_request, body_of, check_query, not_found, page
from trunkline.web.context import context, within
from trunkline.web.source import Json, WebSource

Handler = Callable[[web.Request], Awaitable[web.Response]]
_BRANCH = "/api/tenant/{tenant_name}/pipeline/{pipeline_name}/project/{project_name:.+}/branch/{branch_name:.+}"


def routes() -> list[web.RouteDef]:
    base = "/api/tenant/{tenant_name}"
    return [
        web.get(f"{base}/jobs", _list(lambda source, tenant: source.jobs(tenant))),
        web.get(f"{base}/projects", _list(lambda source, tenant: source.projects(tenant))),
        web.get(f"{base}/pipelines", _list(lambda source, tenant: source.pipelines(tenant))),
        web.get(f"{base}/semaphores", _list(lambda source, tenant: source.semaphores(tenant))),
        web.get(f"{base}/labels", _list(lambda source, tenant: source.labels(tenant))),
        web.get(f"{base}/flavors", _list(lambda source, tenant: source.flavors(tenant))),
        web.get(f"{base}/images", _list(lambda source, tenant: source.images(tenant))),
        web.get(f"{base}/providers", _list(lambda source, tenant: source.providers(tenant))),
        web.get(f"{base}/tenant-status", tenant_status),
        web.get(f"{base}/config-errors", config_errors),
        web.get(f"{base}/key/{{project_name:.+}}.pub", public_key),
        web.get(f"{base}/project-ssh-key/{{project_name:.+}}.pub", project_ssh_key),
        web.get(f"{base}/tenant-ssh-key/ssh.pub", tenant_ssh_key),
        web.get(f"{base}/job/{{job_name:.+}}", job),
        web.get(f"{_BRANCH}/freeze-jobs", freeze_jobs),
        web.get(f"{_BRANCH}/freeze-job/{{job_name:.+}}", freeze_job),
        web.post(f"{base}/project/{{project_name:.+}}/freeze-pipeline", freeze_pipeline),
        web.get(f"{base}/project/{{project_name:.+}}", project),
    ]


def _list(query: Callable[[WebSource, str], Awaitable[list[Json]]]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        check_query(request)
        ctx = context(request)
        tenant = await ctx.reader(request)
        return as_json(await within(query(ctx.source, tenant.name)))

    return answer


async def job(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    name = unquote(request.match_info["job_name"])
    variants = await within(ctx.source.job(tenant.name, name))
    if not variants:
        raise not_found(f"Unknown job {name}")
    return as_json(variants)


async def project(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    name = request.match_info["project_name"]
    found = await within(ctx.source.project(tenant.name, name))
    if found is None:
        raise not_found(f"Unknown project {name}")
    return as_json(found)


async def tenant_status(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    errors = await within(ctx.source.config_errors(tenant.name))
    return as_json({"config_error_count": len(errors)})


async def config_errors(request: web.Request) -> web.Response:
    check_query(request, "project", "branch", "severity", "name", "limit", "skip")
    ctx = context(request)
    tenant = await ctx.reader(request)
    limit, skip = page(request)

    def wanted(error: Json) -> bool:
        where = error.get("source_context") or {}
        said: dict[str, Any] = {
            "project": where.get("project"),
            "branch": where.get("branch"),
            "severity": error.get("severity"),
            "name": error.get("name"),
        }
        return all(value in request.query.getall(key) for key, value in said.items() if key in request.query)

    errors = [error for error in await within(ctx.source.config_errors(tenant.name)) if wanted(error)]
    return as_json(errors[skip : skip + limit])


async def freeze_jobs(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    where = request.match_info
    jobs = await within(
        ctx.source.freeze_jobs(tenant.name, where["pipeline_name"], where["project_name"], where["branch_name"])
    )
    if jobs is None:
        raise not_found("Unknown pipeline, project or branch")
    return as_json(jobs)


async def freeze_job(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    where = request.match_info
    frozen = await within(
        ctx.source.freeze_job(
            tenant.name,
            where["pipeline_name"],
            where["project_name"],
            where["branch_name"],
            unquote(where["job_name"]),
        )
    )
    if frozen is None:
        raise not_found(f"Job {where['job_name']} would not run there")
    return as_json(frozen)


async def freeze_pipeline(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    body = await body_of(request)
    ref, pipeline = body.get("ref"), body.get("pipeline")
    if not isinstance(ref, str) or not isinstance(pipeline, str):
        raise bad_request("ref and pipeline are needed")
    project_name = request.match_info["project_name"]
    parameters = await within(ctx.source.freeze_pipeline(tenant.name, pipeline, project_name, ref))
    if parameters is None:
        raise not_found("Unknown pipeline or project")
    return as_json({"parameters": parameters})


async def public_key(request: web.Request) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    key = await within(ctx.source.public_key(tenant.name, request.match_info["project_name"]))
    if key is None:
        raise not_found("Unknown project")
    return as_text(key)


async def project_ssh_key(request: web.Request) -> web.Response:
    return await _ssh_key(request, request.match_info["project_name"])


async def tenant_ssh_key(request: web.Request) -> web.Response:
    return await _ssh_key(request, None)


async def _ssh_key(request: web.Request, project_name: str | None) -> web.Response:
    check_query(request)
    ctx = context(request)
    tenant = await ctx.reader(request)
    key = await within(ctx.source.ssh_key(tenant.name, project_name))
    if key is None:
        raise not_found("No such key")
    return as_text(key if key.endswith("\n") else key + "\n")
