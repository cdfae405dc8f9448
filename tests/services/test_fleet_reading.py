"""What people and Ansible are told of the fleet, through the command line on a real database."""

import asyncio
import json

import pytest
from tests.services.fleet_stage import FILE, Stage, ports_for

from trunkline.cli import main
from trunkline.services.fleet import round_of
from trunkline.services.fleet_dns import Zones
from trunkline.services.fleet_endpoints import EndpointFiles
from trunkline.services.fleet_probes import Vantage, probe_from
from trunkline.store import Database, fleet

PORT = 1
NO_CHECKS = "\n".join(line for line in FILE.format(port=PORT).splitlines() if "health:" not in line)


@pytest.fixture
def config(postgres_uri, tmp_path):
    """A database in which the application runs, and the configuration file that names it."""

    async def play():
        async with await Database.open(postgres_uri) as db:
            stage = Stage(db, 0)
            await stage.open()
            await stage.land("c1")
            ports = ports_for(NO_CHECKS)
            for _ in range(6):
                await round_of(db, ports, Zones(), EndpointFiles(None))
                await stage.turn()
            async with db.connection() as conn:
                assert len((await fleet.endpoints(conn))[0]["document"]["instances"]) == 4
            await stage.close()

    asyncio.run(play())
    path = tmp_path / "zuul.conf"
    path.write_text(f"[database]\ndburi={postgres_uri.replace('%', '%%')}\n")
    return str(path)


def told(capsys, *words):
    status = main.main(["fleet", *words])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_status_names_each_instance_and_where_it_is(config, capsys):
    status, out, _ = told(capsys, "status", "--config", config)
    assert status == 0
    assert "4 of 4 serve" in out
    assert out.count("running") == 4


def test_status_for_programs(config, capsys):
    _, out, _ = told(capsys, "--config", config, "status", "shop", "--json")
    (found,) = json.loads(out)
    assert found["good"] in ("c1", None)
    assert len(found["instances"]) == 4


def test_the_inventory_is_what_ansible_asks_for(config, capsys):
    _, out, _ = told(capsys, "inventory", "--list", "-c", config)
    found = json.loads(out)
    assert sorted(found["shop"]["hosts"]) == ["shop-1", "shop-2", "shop-3", "shop-4"]
    assert found["provider_lon"]["hosts"] == ["shop-1", "shop-2"]
    assert found["_meta"]["hostvars"]["shop-1"]["ansible_host"].startswith("127.64.")
    _, out, _ = told(capsys, "inventory", "--host", "shop-3", "-c", config)
    assert json.loads(out)["trunkline"]["jurisdiction"] == "EU"


def test_a_plan_of_a_changed_file_says_what_would_move_and_writes_nothing(config, capsys, tmp_path):
    path = tmp_path / "proposed.yaml"
    path.write_text(NO_CHECKS.replace("[EU, GB]", "[EU]"))
    status, out, _ = told(capsys, "plan", "shop", "--file", str(path), "-c", config)
    assert status == 0
    assert "leave     shop-1: jurisdiction GB is not allowed" in out
    assert out.count("place ") == 2
    status, out, _ = told(capsys, "endpoints", "shop", "-c", config)
    assert len(json.loads(out)["instances"]) == 4


def test_a_plan_of_a_broken_file_shows_the_place(config, capsys, tmp_path):
    path = tmp_path / "proposed.yaml"
    path.write_text(NO_CHECKS.replace("label:", "lable:"))
    status, _, err = told(capsys, "plan", "shop", "--file", str(path), "-c", config)
    assert status == 1
    assert 'Did you mean "label"?' in err


def test_explain_tells_why_each_instance_is_where_it_is(config, capsys):
    status, out, _ = told(capsys, "explain", "shop", "-c", config)
    assert status == 0
    assert "place shop-1 lon (London, GB, 0 km from London)" in out
    assert "defined in review/shop trunkline.yaml:2 on main" in out


def test_an_application_that_is_not_there_is_said_so(config, capsys):
    status, _, err = told(capsys, "explain", "cart", "-c", config)
    assert status == 1
    assert "there is no application cart" in err


def test_a_probe_that_finds_nobody_is_a_failure_with_its_reason(postgres_uri, config):
    async def play():
        async with await Database.open(postgres_uri) as db:
            async with db.transaction() as conn:
                await conn.execute(
                    "update applications set body = jsonb_set(body, '{application,health}', %s)",
                    ('[{"port": 1, "path": "/", "interval_s": 0.1, "timeout_s": 0.5}]',),
                )
            stop = asyncio.Event()
            probing = asyncio.create_task(probe_from(Vantage("east", "127.0.0.2"), db, stop))
            for _ in range(200):
                async with db.connection() as conn:
                    streaks = await fleet.streaks(conn, "acme", "shop")
                if len(streaks) == 4 and all(s[0].count >= 3 for s in streaks.values()):
                    break
                await asyncio.sleep(0.05)
            stop.set()
            await probing
            assert all(not s[0].ok and "127.64." in s[0].detail for s in streaks.values())

    asyncio.run(play())
