"""Where regions are, and what vendors want."""

from __future__ import annotations

import pytest

from trunkline.clouds.vendors import CITIES, EU, PROFILES, place_of, profile_of


@pytest.mark.parametrize(
    ("cloud", "region", "city", "jurisdiction"),
    [
        ("citycloud-like", "Lon1", "London", "GB"),
        ("citycloud-like", "Sto2", "Stockholm", "EU"),
        ("citycloud", "Lax1", "Los Angeles", "US"),
        ("ovh-like", "GRA1", "Gravelines", "EU"),
        ("ovh", "BHS5", "Beauharnois", "CA"),
        ("ovh", "UK1", "London", "GB"),
        ("otc-like", "eu-de", "Magdeburg", "EU"),
        ("otc", "eu-ch2", "Zurich", "CH"),
        ("rax-like", "DFW", "Dallas", "US"),
        ("rackspace", "LON", "London", "GB"),
        ("vexxhost-like", "ca-ymq-1", "Montreal", "CA"),
        ("limestone-like", "us-slc", "Salt Lake City", "US"),
    ],
)
def test_a_region_names_its_city(cloud: str, region: str, city: str, jurisdiction: str):
    place = place_of(cloud, region)
    assert (place.city, place.jurisdiction) == (city, jurisdiction)
    assert place.lat is not None


def test_all_regions_of_one_vendor_are_one_failure_domain():
    assert place_of("rax-like", "DFW").name == place_of("rackspace", "LON").name == "rackspace"


def test_an_unknown_cloud_says_itself_where_it_is():
    assert place_of("own", "r1").jurisdiction == ""
    said = {"trunkline_location": {"r1": {"city": "Oslo"}, "r2": {"country": "FI"}}}
    assert place_of("own", "r1", said).country == "NO"
    assert place_of("own", "r2", said).jurisdiction == "EU"


def test_every_city_of_the_table_is_known():
    for profile in PROFILES:
        assert set(profile.regions.values()) <= set(CITIES), profile.vendor


def test_the_union_has_27_members():
    assert len(EU) == 27
    assert "GB" not in EU


def test_profiles_are_found_by_the_sdks_name_too():
    assert profile_of("whatever", "rackspace").image_method == "task"
    assert profile_of("citycloud-like").floating_ip == "required"
