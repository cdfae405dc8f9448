"""Labels, images, flavors, sections and providers: what they name exists, what they say fits their driver."""

import re

import pytest

from tests.config.test_checklist import known_keys
from tests.config.world import CONNECTIONS, PIPELINES, layout_of, only_error
from tests.shared import SHARED, needs_shared
from trunkline.config.connections import connection_spec
from trunkline.config.provider_schema import DRIVERS

GOOD = """
- image: {name: debian, type: cloud}
- flavor: {name: small}
- label: {name: debian-small, image: debian, flavor: small, min-ready: 1}
- section:
    name: cloud
    connection: cloud
    region: lon
    launch-timeout: 600
    image-defaults: {username: debian}
    images: [{name: debian, image-id: abc}]
    flavors: [{name: small, flavor-name: m1}]
    label-defaults: {boot-timeout: 60, networks: [net]}
- provider:
    name: lon
    section: cloud
    labels: [{name: debian-small, key-name: k}]
    resource-limits: {instances: 5, ram: 1024}
"""


@pytest.fixture(autouse=True)
def _cloud(monkeypatch):
    monkeypatch.setitem(CONNECTIONS, "cloud", connection_spec("cloud", {"driver": "openstack", "cloud": "x"}))


def test_objects_of_providers_are_plain_data():
    layout = layout_of({"config": PIPELINES + GOOD})
    assert layout.errors == ()
    assert layout.providers["lon"].body["resource-limits"] == {"instances": 5, "ram": 1024}
    assert layout.labels["debian-small"].body["min-ready"] == 1
    assert set(layout.sections) == {"cloud"}
    assert set(layout.images) == {"debian"}
    assert set(layout.flavors) == {"small"}


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("boot-timeout: 60", "boot-timout: 60", "boot-timout"),
        ("region: lon", "regoin: lon", "regoin"),
        ("section: cloud", "section: none", "none"),
        ("[{name: debian-small, key-name: k}]", "[{name: other}]", "other"),
        ("connection: cloud", "connection: none", "none"),
        ("image: debian, flavor: small", "image: debian, flavor: big", "big"),
        ("min-ready: 1", "min-ready: many", "min-ready"),
        ("    name: cloud\n", "    name: cloud\n    parent: none\n", "none"),
    ],
)
def test_mistakes_in_providers_are_located(old, new, word):
    layout = layout_of({"config": PIPELINES + GOOD.replace(old, new)})
    assert layout.errors
    assert word in layout.errors[0].short
    assert layout.errors[0].line > 1


def test_untrusted_projects_need_leave_to_define_providers():
    layout = layout_of({"config": PIPELINES, "org/app": GOOD})
    assert layout.errors == ()
    assert layout.providers == {}


def test_a_second_definition_elsewhere_is_an_error():
    error = only_error(layout_of({"config": PIPELINES + GOOD + "- flavor: {name: small}\n"}))
    assert "already defined" in error.short


@needs_shared
@pytest.mark.parametrize("driver", ["openstack", "static"])
def test_every_attribute_of_the_driver_is_known(driver):
    assert SHARED is not None
    text = (SHARED / "reference" / "zuul-attributes.md").read_text()
    chapter = text.split(f"# drivers/{driver}-attrs\n")[1].split("\n# ")[0]
    names = {m[1].split("[")[0] for m in re.finditer(r"^ *- ([^:\n]+)", chapter, re.M)} - {"provider"}
    assert names - known_keys(DRIVERS[driver]) == set()
