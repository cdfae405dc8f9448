"""The name server, asked over real sockets by a real resolver library."""

import asyncio
from contextlib import asynccontextmanager

import dns.asyncquery
import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest

from trunkline.services.fleet_dns import NameServer, Zones, respond


def document(*addresses, name="www.shop.example", zone="shop.example", generation=7):
    instances = [{"address": address} for address in addresses]
    return {"dns": {"name": name, "zone": zone, "ttl": 5}, "generation": generation, "instances": instances}


@asynccontextmanager
async def serving(*documents):
    zones = Zones()
    zones.load(documents)
    server = NameServer(zones, "127.0.0.1", 0)
    await server.start()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
    try:
        yield server, resolver
    finally:
        await server.close()


def play(coroutine):
    asyncio.run(coroutine)


def test_addresses_of_both_families_are_answered_with_the_ttl():
    async def it():
        async with serving(document("10.0.0.1", "10.0.0.2", "2001:db8::1")) as (_, resolver):
            four = await resolver.resolve("www.shop.example", "A")
            assert {r.address for r in four} == {"10.0.0.1", "10.0.0.2"}
            assert four.rrset.ttl == 5
            six = await resolver.resolve("WWW.shop.example", "AAAA")
            assert [r.address for r in six] == ["2001:db8::1"]

    play(it())


def test_a_name_that_is_not_there_does_not_exist_and_one_without_addresses_is_empty():
    async def it():
        async with serving(document()) as (_, resolver):
            with pytest.raises(dns.resolver.NXDOMAIN):
                await resolver.resolve("nothing.shop.example", "A")
            with pytest.raises(dns.resolver.NoAnswer):
                await resolver.resolve("www.shop.example", "A")

    play(it())


def test_the_zone_names_itself():
    async def it():
        async with serving(document("10.0.0.1")) as (_, resolver):
            (soa,) = await resolver.resolve("shop.example", "SOA")
            assert soa.serial == 7
            (ns,) = await resolver.resolve("shop.example", "NS")
            assert ns.target.to_text() == "ns.shop.example."

    play(it())


def test_other_zones_and_transfers_are_refused():
    async def it():
        async with serving(document("10.0.0.1")) as (server, _):
            for name, kind in (("www.other.example", "A"), ("shop.example", "AXFR")):
                query = dns.message.make_query(name, kind)
                wire = respond(server.zones, query.to_wire(), tcp=True)
                assert dns.message.from_wire(wire).rcode() == dns.rcode.REFUSED

    play(it())


def test_an_answer_too_long_for_udp_is_cut_and_told_in_full_over_tcp():
    async def it():
        many = [f"10.0.{k // 250}.{k % 250 + 1}" for k in range(100)]
        async with serving(document(*many)) as (server, _):
            query = dns.message.make_query("www.shop.example", "A")
            short = await dns.asyncquery.udp(query, "127.0.0.1", port=server.port, timeout=5)
            assert short.flags & dns.flags.TC
            full, by_tcp = await dns.asyncquery.udp_with_fallback(query, "127.0.0.1", port=server.port, timeout=5)
            assert by_tcp
            assert len(full.answer[0]) == 100

    play(it())


def test_noise_gets_no_answer_and_stops_nothing():
    async def it():
        async with serving(document("10.0.0.1")) as (server, resolver):
            for noise in (b"", b"x", b"\xff" * 40, dns.message.make_query("a.", "A").to_wire()[:-3]):
                assert respond(server.zones, noise, tcp=False) is None
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"\x00\x04junk")
            assert await reader.read() == b""
            writer.close()
            assert len(await resolver.resolve("www.shop.example", "A")) == 1

    play(it())


def test_a_new_set_of_documents_replaces_the_old_one():
    zones = Zones()
    zones.load([document("10.0.0.1")])
    zones.load([document("10.0.0.9", zone="cart.example", name="cart.example")])
    query = dns.message.make_query("cart.example", "A")
    assert zones.answer(query).answer[0][0].address == "10.0.0.9"
    assert zones.answer(dns.message.make_query("www.shop.example", "A")).rcode() == dns.rcode.REFUSED
