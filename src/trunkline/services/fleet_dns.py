"""A small authoritative name server for the endpoints: UDP and TCP, no recursion, no transfers.

It answers from the documents it was last given, for the zones they name; anything else is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import structlog

log = structlog.get_logger()

NEGATIVE_TTL_S = 10
PLAIN_UDP_BYTES = 512
UDP_BYTES_AT_MOST = 1232
TCP_IDLE_S = 10.0
FREE_PORT_TRIES = 5


class Zones:
    """Names and addresses, as the endpoint documents have them."""

    def __init__(self) -> None:
        self.zones: dict[dns.name.Name, int] = {}
        self.names: dict[dns.name.Name, tuple[int, list[str]]] = {}

    def load(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Replace all that is known."""
        zones: dict[dns.name.Name, int] = {}
        names: dict[dns.name.Name, tuple[int, list[str]]] = {}
        for one in documents:
            if not one.get("dns"):
                continue
            zone = dns.name.from_text(one["dns"]["zone"])
            zones[zone] = zones.get(zone, 0) + int(one["generation"])
            addresses = [i["address"] for i in one["instances"] if i["address"]]
            names[dns.name.from_text(one["dns"]["name"])] = (int(one["dns"]["ttl"]), addresses)
        self.zones, self.names = zones, names

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The response to one query."""
        response: dns.message.Message = dns.message.make_response(query, our_payload=UDP_BYTES_AT_MOST)
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            response.set_rcode(dns.rcode.NOTIMP)
            return response
        question = query.question[0]
        zone = self._zone_of(question.name)
        if zone is None or question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA
        self._fill(response, question, zone)
        return response

    def _zone_of(self, name: dns.name.Name) -> dns.name.Name | None:
        found = [zone for zone in self.zones if name.is_subdomain(zone)]
        return max(found, key=len, default=None)

    def _fill(self, response: dns.message.Message, question: dns.rrset.RRset, zone: dns.name.Name) -> None:
        name, wanted = question.name, question.rdtype
        ttl, addresses = self.names.get(name, (NEGATIVE_TTL_S, []))
        for rdtype, version in ((dns.rdatatype.A, 4), (dns.rdatatype.AAAA, 6)):
            found = [a for a in addresses if ipaddress.ip_address(a).version == version]
            if found and wanted in (rdtype, dns.rdatatype.ANY):
                response.answer.append(dns.rrset.from_text_list(name, ttl, "IN", dns.rdatatype.to_text(rdtype), found))
        if name == zone and wanted in (dns.rdatatype.SOA, dns.rdatatype.ANY):
            response.answer.append(self._soa(zone))
        if name == zone and wanted in (dns.rdatatype.NS, dns.rdatatype.ANY):
            response.answer.append(dns.rrset.from_text(name, 3600, "IN", "NS", f"ns.{zone}"))
        if not response.answer:
            exists = name == zone or any(known.is_subdomain(name) for known in self.names)
            if not exists:
                response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(self._soa(zone))

    def _soa(self, zone: dns.name.Name) -> dns.rrset.RRset:
        serial = self.zones[zone] % 2**32
        text = f"ns.{zone} hostmaster.{zone} {serial} 3600 600 86400 {NEGATIVE_TTL_S}"
        return dns.rrset.from_text(zone, NEGATIVE_TTL_S, "IN", "SOA", text)


_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


def respond(zones: Zones, wire: bytes, *, tcp: bool) -> bytes | None:
    """The wire form of the answer; None if what came is not a query at all."""
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    if query.flags & dns.flags.QR:
        return None
    response = zones.answer(query)
    if tcp:
        return bytes(response.to_wire(max_size=65535))
    room = PLAIN_UDP_BYTES if query.edns < 0 else max(PLAIN_UDP_BYTES, min(query.payload, UDP_BYTES_AT_MOST))
    try:
        return bytes(response.to_wire(max_size=room))
    except dns.exception.TooBig:
        short = dns.message.make_response(query)
        short.flags |= dns.flags.AA | dns.flags.TC
        return bytes(short.to_wire(max_size=room))


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = respond(self.zones, data, tcp=False)
        if answer is not None and self.transport is not None:
            self.transport.sendto(answer, addr)


class NameServer:
    """Serves `zones` on one address; `port` is the real one after `start`."""

    def __init__(self, zones: Zones, host: str, port: int) -> None:
        self.zones, self.host, self.port = zones, host, port
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on TCP and, at the same port, on UDP. Raises OSError if the port is taken."""
        for tries_left in reversed(range(FREE_PORT_TRIES)):
            try:
                await self._listen()
                break
            except OSError:
                if self.port or not tries_left:
                    raise  # a port of one's choice must be free; of any free ones another may be free on UDP as well
        log.info("fleet.dns.listening", host=self.host, port=self.port)

    async def _listen(self) -> None:
        self._tcp = await asyncio.start_server(self._serve_tcp, self.host, self.port)
        port = self._tcp.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        try:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self.zones), local_addr=(self.host, port))
        except OSError:
            self._tcp.close()
            raise
        self.port = port

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                async with asyncio.timeout(TCP_IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    wire = await reader.readexactly(size)
                answer = respond(self.zones, wire, tcp=True)
                if answer is None:
                    break
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        writer.close()
