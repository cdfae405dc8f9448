"""Pages, fragments, hints and stored logs over HTTP."""

import asyncio
import re

import pytest

from tests.web.sample import uuid
from tests.web.serving import play
from trunkline.web import WebSettings
from trunkline.web.source import TenantInfo

PAGES = [
    *("/", "/t/meadow/status", "/t/meadow/builds", "/t/meadow/pool", "/t/meadow/fleet", "/t/meadow/config"),
    *(f"/t/meadow/build/{uuid(103)}", f"/t/meadow/build/{uuid(106)}", f"/t/meadow/buildset/{uuid(501)}"),
    *("/t/meadow/change/1205,2", "/t/meadow/status/change/1205,2"),
    *(
        f"/t/meadow/fragment/{name}"
        for name in ("queues", "counts", "banner", "pool", "nodes", "fleet", "builds", "placement")
    ),
    *(f"/t/meadow/fragment/build/{uuid(103)}", "/t/meadow/fragment/change/1205,2"),
]


def test_every_page_and_fragment_renders_and_loads_nothing_from_elsewhere():
    async def scene(site, source):
        source.tenant_infos["second"] = source.tenant_infos["meadow"]
        for path in PAGES:
            status, body, headers = await site.get(path)
            assert status == 200, path
            assert "default-src 'self'" in headers["Content-Security-Policy"]
            assert not re.search(r"""(?:src|href)=["'](?:https?:)?//(?!review\.)""", body), path
        for path in ("/static/page.css", "/static/live.js", "/static/console.js", "/static/mark.svg"):
            assert (await site.get(path))[0] == 200, path

    play(scene)


def test_an_item_shows_what_it_is_tested_on_and_whom_that_leaves_out():
    async def scene(site, source):
        _, body, _ = await site.get("/t/meadow/fragment/queues")
        third = body.partition(f'id="item-{uuid(3)}"')[2].partition('id="item-')[0]
        words = " ".join(re.sub(r"<[^>]+>", " ", third).split())
        assert "Tested on trunk + and 1201,1 without 1202,3" in words
        assert "the window ends here: 1 waits behind it" in body

    play(scene)


def test_a_broken_tip_is_said_on_top_of_the_page():
    async def scene(site, source):
        assert "last good layout" not in (await site.get("/t/meadow/status"))[1]
        context = {"project": "meadow/config", "branch": "main", "path": "zuul.yaml"}
        error = {"source_context": context, "error": "…", "short_error": "unknown key", "name": "Unknown"}
        source.errors = [error | {"severity": "error"}]
        assert "the last good layout is in force" in (await site.get("/t/meadow/status"))[1]

    play(scene)


def test_what_people_write_never_becomes_markup():
    async def scene(site, source):
        evil = "<script>alert(1)</script>"
        link = {"name": "report", "url": "JavaScript:alert(1)"}
        source.build_list[2] |= {"job_name": evil, "error_detail": evil, "artifacts": [link], "log_url": link["url"]}
        source.application_list[0]["reason"] = evil
        source.region_list[2]["reason"] = evil
        for path in PAGES:
            body = (await site.get(path))[1]
            assert evil not in body, path
            assert 'href="javascript:' not in body.lower(), path

    play(scene)


def test_a_page_that_does_not_exist_says_so():
    async def scene(site, source):
        for path in ("/t/nowhere/status", f"/t/meadow/build/{uuid(9999)}", "/t/meadow/fragment/nope"):
            assert (await site.get(path))[0] == 404, path

    play(scene)


def test_a_tenant_that_is_still_being_read_says_so_and_looks_again():
    async def scene(site, source):
        source.tenant_infos["new"] = TenantInfo("new", ready=False)
        status, body, _ = await site.get("/t/new/status")
        assert status == 422
        assert 'http-equiv="refresh"' in body

    play(scene)


def test_a_single_tenant_is_shown_at_once():
    async def scene(site, source):
        status, _, headers = await site.get("/")
        assert (status, headers["Location"]) == (302, "/t/meadow/status")
        _, _, headers = await site.get(f"/t/meadow/stream/{uuid(106)}?logfile=console.log")
        assert headers["Location"] == f"/t/meadow/build/{uuid(106)}"

    play(scene)


def test_builds_are_filtered_by_what_the_form_sends():
    async def scene(site, source):
        _, body, _ = await site.get("/t/meadow/builds?project=&result=FAILURE&job_name=web-*")
        assert body.count("<tr>") == 2  # the head and one build
        assert 'value="FAILURE"' in body

    play(scene)


def test_hints_are_gathered_and_sent_once():
    async def scene(site, source):
        async with site.session.get(site.url + "/api/tenant/meadow/events") as answer:
            assert answer.content_type == "text/event-stream"
            assert b"event: hello" in await answer.content.readuntil(b"data: 1\n\n")
            while not source.hub._readers.get("meadow"):
                await asyncio.sleep(0)
            for _ in range(50):
                source.hub.post("meadow", "queues")
            source.hub.post("", "pool")
            source.hub.post("other", "fleet")
            assert await answer.content.readuntil(b"\n\n") == b"event: changed\ndata: pool queues\n\n"

    play(scene)


@pytest.fixture
def logs(tmp_path):
    place = tmp_path / "logs" / "meadow" / uuid(103)
    (place / "zuul-info").mkdir(parents=True)
    (place / "job-output.txt").write_text("line ☃\n")
    (place / "report.html").write_text("<script>alert(1)</script>")
    (place / "tool.bin").write_bytes(b"\0\1")
    (tmp_path / "logs" / "meadow" / "secret.txt").write_text("not yours")
    (place / "link").symlink_to(tmp_path / "logs" / "meadow" / "secret.txt")
    return WebSettings(log_directory=str(tmp_path / "logs"))


def test_stored_logs_are_text_or_downloads_and_stay_in_their_folder(logs):
    async def scene(site, source):
        base = f"/logs/meadow/{uuid(103)}"
        status, body, headers = await site.get(f"{base}/job-output.txt")
        assert (status, body) == (200, "line ☃\n")
        status, _, headers = await site.get(f"{base}/report.html")
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "sandbox" in headers["Content-Security-Policy"]
        _, _, headers = await site.get(f"{base}/tool.bin")
        assert headers["Content-Disposition"] == "attachment"
        _, body, _ = await site.get(f"{base}/")
        assert "job-output.txt" in body
        assert (await site.get(base))[0] == 302
        for path in ("../secret.txt", "%2e%2e/secret.txt", "link", "nothing.txt", "zuul-info/../../secret.txt"):
            assert (await site.get(f"{base}/{path}"))[0] in (302, 404), path
            assert "not yours" not in str((await site.get(f"{base}/{path}"))[1]), path
        assert (await site.get(f"/logs/nowhere/{uuid(103)}/job-output.txt"))[0] == 404

    play(scene, settings=logs)
