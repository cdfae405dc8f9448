"""The console stream: what the executor says arrives, whole characters, and ends with the right words."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.web.sample import uuid
from tests.web.serving import AUTH, play, token
from trunkline.web.source import Authorisation, BuildConsole, TenantInfo

PATH = "/api/tenant/meadow/console-stream"


@asynccontextmanager
async def finger(*pieces: bytes, hold: asyncio.Event | None = None):
    """An executor's finger port that answers with these pieces; yields its address and what it was asked."""
    asked: list[bytes] = []

    async def answer(reader, writer):
        asked.append(await reader.readline())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if hold is not None:
            await hold.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}", asked


async def stream(site, request, **how):
    """(text, close code, close reason) of one console stream."""
    async with site.session.ws_connect(site.url + PATH, **how) as socket:
        await socket.send_str(request if isinstance(request, str) else json.dumps(request))
        text = ""
        while True:
            frame = await socket.receive(timeout=10)
            if frame.type is aiohttp.WSMsgType.TEXT:
                text += frame.data
            else:
                return text, socket.close_code, frame.extra


def test_a_running_console_is_copied_from_the_executor_to_its_end():
    snowman = "one\n☃ two\n".encode()

    async def scene(site, source):
        async with finger(snowman[:5], snowman[5:6], snowman[6:]) as (address, asked):
            source.consoles[uuid(1)] = BuildConsole("running", address)
            answer = await stream(site, {"uuid": uuid(1), "logfile": "console.log"})
            assert answer == ("one\n☃ two\n", 1000, "No more data")
            assert asked == [uuid(1).encode() + b"\n"]

    play(scene)


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        ({"logfile": "console.log"}, 4000, "'uuid' missing from request payload"),
        ({"uuid": uuid(1)}, 4000, "'logfile' missing from request payload"),
        ({"uuid": uuid(9), "logfile": "x"}, 4011, "Build not found"),
        ({"uuid": uuid(2), "logfile": "x"}, 4011, "Build not found"),
        ({"uuid": uuid(3), "logfile": "x"}, 4011, "Build did not start yet"),
        ({"uuid": uuid(4), "logfile": "x"}, 4011, "Error with log streaming"),
    ],
)
def test_each_obstacle_has_its_close_code(request_, code, reason):
    async def scene(site, source):
        source.consoles = {
            uuid(2): BuildConsole("complete", "127.0.0.1:1"),
            uuid(3): BuildConsole("requested"),
            uuid(4): BuildConsole("running", "127.0.0.1:1"),
        }
        assert await stream(site, request_) == ("", code, reason)

    play(scene)


def test_consoles_of_a_closed_tenant_want_a_token_in_the_request():
    async def scene(site, source):
        source.tenant_infos["meadow"] = TenantInfo("meadow", access_rules=("staff",))
        source.rules = Authorisation(rules={"staff": ({"team": "a"},)})
        request = {"uuid": uuid(1), "logfile": "console.log"}
        async with finger(b"secret\n") as (address, _):
            source.consoles[uuid(1)] = BuildConsole("running", address)
            assert await stream(site, request) == ("", 4000, "MissingAuthError")
            assert await stream(site, request | {"token": token(team="b")}) == ("", 4000, "Authorization error")
            assert (await stream(site, request | {"token": token(team="a")}))[0] == "secret\n"

    play(scene, AUTH)


def test_an_unknown_tenant_gets_no_websocket():
    async def scene(site, source):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await site.session.ws_connect(site.url + "/api/tenant/nowhere/console-stream")
        assert refused.value.status == 404

    play(scene)


def test_a_service_that_stops_does_not_wait_for_a_build_to_end():
    async def scene(site, source):
        never = asyncio.Event()
        async with finger(b"begun\n", hold=never) as (address, _):
            source.consoles[uuid(1)] = BuildConsole("running", address)
            socket = await site.session.ws_connect(site.url + PATH)
            await socket.send_json({"uuid": uuid(1), "logfile": "console.log"})
            assert (await socket.receive(timeout=10)).data == "begun\n"
            never.set()

    play(scene)
