"""Addresses of servers, in the shapes that vendors have."""

from __future__ import annotations

import pytest

from trunkline.clouds.network import Network, choose_networks, needs_floating_ip, read_addresses, sort_addresses

PRIVATE = Network("n1", "private", is_external=False, is_shared=False)
OUTSIDE = Network("n2", "ext-net", is_external=True, is_shared=False)
DIRECT = Network("n3", "Ext-Net", is_external=True, is_shared=True)


def fixed(ip: str, version: int = 4) -> dict[str, object]:
    return {"addr": ip, "version": version, "OS-EXT-IPS:type": "fixed"}


def test_a_floating_ip_is_where_the_server_is_reached():
    seen = read_addresses(
        {"private": [fixed("10.0.0.5"), {"addr": "1.2.3.4", "version": 4, "OS-EXT-IPS:type": "floating"}]}
    )
    found = sort_addresses(seen, [PRIVATE, OUTSIDE], True)
    assert (found.interface_ip, found.public_ipv4, found.private_ipv4) == ("1.2.3.4", "1.2.3.4", "10.0.0.5")
    assert not needs_floating_ip(seen, [PRIVATE, OUTSIDE], "required")


def test_a_server_on_a_private_network_needs_one():
    seen = read_addresses({"private": [fixed("10.0.0.5")]})
    assert needs_floating_ip(seen, [PRIVATE, OUTSIDE], "auto")
    assert needs_floating_ip(seen, [PRIVATE], "required")
    assert not needs_floating_ip(seen, [PRIVATE], "auto")
    assert not needs_floating_ip(seen, [PRIVATE, OUTSIDE], "none")


def test_a_server_on_a_provider_network_is_reached_directly():
    seen = read_addresses({"Ext-Net": [fixed("5.6.7.8"), fixed("2001:db8::5", 6)]})
    assert not needs_floating_ip(seen, [DIRECT], "auto")
    found = sort_addresses(seen, [DIRECT], True)
    assert (found.interface_ip, found.public_ipv6) == ("5.6.7.8", "2001:db8::5")


def test_without_neutron_the_public_network_is_known_by_its_name():
    seen = read_addresses({"private": [fixed("10.1.1.1")], "public": [fixed("9.9.9.9")]})
    found = sort_addresses(seen, [], False)
    assert (found.interface_ip, found.private_ipv4) == ("9.9.9.9", "10.1.1.1")


def test_networks_are_chosen_by_name_else_the_projects_own():
    assert choose_networks(["ext-net"], [PRIVATE, OUTSIDE]) == ["n2"]
    assert choose_networks([], [OUTSIDE, PRIVATE]) == ["n1"]
    assert choose_networks([], [DIRECT]) == ["n3"]
    assert choose_networks([], []) is None
    with pytest.raises(LookupError, match="no network nosuch"):
        choose_networks(["nosuch"], [PRIVATE])
