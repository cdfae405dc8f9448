"""The web service as a process runs it: starts, answers, stops."""

import asyncio
import socket

import aiohttp

from tests.web.installation import installation
from trunkline.services.process import Process
from trunkline.services.settings import Settings
from trunkline.services.web import main
from trunkline.store import Database


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_service_starts_from_a_configuration_answers_and_stops(postgres_uri, tmp_path):
    async def run():
        async with asyncio.timeout(60), await Database.open(postgres_uri) as db:
            await installation(db, tmp_path)
            port = _free_port()
            conf = tmp_path / "trunkline.conf"
            text = conf.read_text().replace("[web]\n", f"[web]\nport={port}\n")
            conf.write_text(
                text + "[auth a]\ndriver=HS256\nrealm=r\nclient_id=c\nissuer_id=i\nsecret=of no use but here and now\n"
            )
            process = Process("web", Settings.read(conf), db, asyncio.Event())
            serving = asyncio.create_task(main(process))
            async with aiohttp.ClientSession() as session:
                while True:
                    assert not serving.done(), serving
                    try:
                        async with session.get(f"http://127.0.0.1:{port}/api/info") as answer:
                            info = await answer.json()
                        break
                    except aiohttp.ClientConnectorError:
                        await asyncio.sleep(0.02)
                events = await session.get(f"http://127.0.0.1:{port}/api/tenant/meadow/events")
                await events.content.readuntil(b"data: 1\n\n")
                process.stop.set()
                await serving  # though somebody still listens
                events.close()
            return info

    info = asyncio.run(run())
    assert info["info"]["capabilities"]["auth"]["default_realm"] == "r"
