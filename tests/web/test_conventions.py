"""What holds for every route: cross-origin headers, caching, errors, unknown paths and query keys."""

import asyncio

import pytest

from tests.web.serving import AUTH, play
from trunkline.web.source import TenantInfo

ROUTES = [
    *("", "/info", "/connections", "/components", "/tenants", "/tenant/meadow/info", "/tenant/meadow/status"),
    *("/tenant/meadow/status/change/1201,1", "/tenant/meadow/tenant-status", "/tenant/meadow/config-errors"),
    *("/tenant/meadow/system-events", "/tenant/meadow/jobs", "/tenant/meadow/job/web-unit", "/tenant/meadow/projects"),
    *("/tenant/meadow/project/meadow/web", "/tenant/meadow/pipelines", "/tenant/meadow/semaphores"),
    *("/tenant/meadow/labels", "/tenant/meadow/flavors", "/tenant/meadow/images", "/tenant/meadow/providers"),
    *("/tenant/meadow/nodes", "/tenant/meadow/nodeset-requests", "/tenant/meadow/builds", "/tenant/meadow/buildsets"),
    *("/tenant/meadow/build-times", "/tenant/meadow/badge", "/tenant/meadow/autohold", "/tenant/meadow/regions"),
    *("/tenant/meadow/applications", "/tenant/meadow/application/shop/endpoints"),
    *("/tenant/meadow/key/meadow/web.pub", "/tenant/meadow/project-ssh-key/meadow/web.pub"),
    *("/tenant/meadow/tenant-ssh-key/ssh.pub", "/tenant/meadow/project/meadow/web/autohold"),
    "/tenant/meadow/pipeline/gate/project/meadow/web/branch/main/freeze-jobs",
    "/tenant/meadow/pipeline/gate/project/meadow/web/branch/main/freeze-job/web-unit",
]


def test_every_route_answers_and_may_be_read_from_any_page():
    async def scene(site, source):
        for route in ROUTES:
            status, _, headers = await site.get("/api" + route)
            assert status == 200, route
            assert headers["Access-Control-Allow-Origin"] == "*", route

    play(scene, AUTH)


def test_unknown_query_keys_and_unknown_tenants_are_not_found():
    async def scene(site, source):
        for route in ROUTES[6:]:
            assert (await site.get(f"/api{route}?surprise=1"))[0] == 404, route
            elsewhere = route.replace("/tenant/meadow/", "/tenant/nowhere/", 1)
            assert (await site.get(f"/api{elsewhere}"))[0] == 404, route

    play(scene, AUTH)


def test_a_tenant_that_is_still_being_loaded_is_unprocessable():
    async def scene(site, source):
        source.tenant_infos["new"] = TenantInfo("new", ready=False)
        assert (await site.get("/api/tenant/new/status"))[0] == 422

    play(scene)


def test_preflights_name_what_is_allowed():
    async def scene(site, source):
        status, _, headers = await site.ask("OPTIONS", "/api/tenant/meadow/project/meadow/web/enqueue")
        assert status == 204
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
        assert "POST" in headers["Access-Control-Allow-Methods"]
        assert headers["Access-Control-Max-Age"] == "86400"

    play(scene, AUTH)


def test_status_is_made_once_a_second_however_many_ask():
    async def scene(site, source):
        await asyncio.gather(*(site.get("/api/tenant/meadow/status") for _ in range(20)))
        _, _, headers = await site.get("/api/tenant/meadow/status")
        assert source.status_made == 1
        assert headers["Cache-Control"] == "public, max-age=1"
        assert headers["Last-Modified"].endswith("GMT")

    play(scene)


def test_unrouted_paths_show_the_way_in_and_take_no_post():
    async def scene(site, source):
        status, body, _ = await site.get("/api/nope")
        assert status == 200
        assert "<!doctype html>" in body
        assert (await site.post("/api/nope", {}))[0] == 404
        assert (await site.get("/api/tenant/meadow/authorizations"))[0] == 200  # † without an authenticator
        assert (await site.post("/api/tenant/meadow/promote", {}))[0] == 404

    play(scene)


def test_the_wrong_method_on_an_action_is_refused():
    async def scene(site, source):
        assert (await site.get("/api/tenant/meadow/promote"))[0] == 405
        assert (await site.get("/api/tenant/meadow/project/meadow/web/enqueue"))[0] == 405

    play(scene, AUTH)


@pytest.mark.parametrize("query", ["limit=many", "idx_min=x", "skip=-1", "change=abc", "voting=perhaps"])
def test_a_filter_that_is_no_number_is_a_bad_request(query):
    async def scene(site, source):
        assert (await site.get(f"/api/tenant/meadow/builds?{query}"))[0] == 400

    play(scene)


def test_filters_reach_the_source_repeated_keys_as_an_or():
    async def scene(site, source):
        path = "/api/tenant/meadow/builds?project=meadow/*&result=FAILURE&result=SUCCESS&change=1202&voting=1&limit=7"
        status, body, _ = await site.get(path)
        assert status == 200
        assert [build["ref"]["change"] for build in body] == [1202]
        query = source.calls[-1][1]
        assert (query.project, query.result, query.voting, query.limit) == (
            ("meadow/*",),
            ("FAILURE", "SUCCESS"),
            True,
            7,
        )

    play(scene)


def test_names_in_paths_keep_their_slashes_encoded_or_not():
    async def scene(site, source):
        for name in ("meadow/web", "meadow%2Fweb"):
            status, _, _ = await site.get(
                f"/api/tenant/meadow/pipeline/gate/project/{name}/branch/stable/1.0/freeze-jobs"
            )
            assert status == 200
            assert source.calls[-1] == ("freeze_jobs", "gate", "meadow/web", "stable/1.0")
        assert (await site.get("/api/tenant/meadow/job/docs%252Fbuild"))[0] == 200

    play(scene)


def test_the_badge_is_a_picture_that_nobody_keeps():
    async def scene(site, source):
        status, body, headers = await site.get("/api/tenant/meadow/badge?project=meadow/api")
        assert (status, headers["Content-Type"].split(";")[0]) == (200, "image/svg+xml")
        assert headers["Cache-Control"] == "no-cache"
        assert "failing" in body

    play(scene)


def test_configuration_errors_are_filtered_and_counted():
    def error(severity, project):
        context = {"project": project, "branch": "main", "path": "zuul.yaml"}
        return {"source_context": context, "error": "…", "short_error": "…", "severity": severity, "name": "Unknown"}

    async def scene(site, source):
        source.errors = [error("error", "a"), error("warning", "a"), error("error", "b")]
        assert (await site.get("/api/tenant/meadow/tenant-status"))[1] == {"config_error_count": 3}
        _, found, _ = await site.get("/api/tenant/meadow/config-errors?severity=error&project=b")
        assert [one["source_context"]["project"] for one in found] == ["b"]
        assert len((await site.get("/api/tenant/meadow/config-errors?limit=2"))[1]) == 2

    play(scene)
