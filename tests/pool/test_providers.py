"""From the objects of a layout to provider specs."""

from __future__ import annotations

from typing import Any

from trunkline.pool import Resources, provider_specs

CONNECTIONS = {
    "city": {"driver": "openstack", "cloud": "citycloud-like", "rate": "5"},
    "lab": {"driver": "static"},
    "review": {"driver": "gerrit"},
}


def objects(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    plain: dict[str, list[dict[str, Any]]] = {
        "image": [{"name": "debian", "type": "cloud"}],
        "flavor": [{"name": "small"}],
        "label": [{"name": "debian-small", "image": "debian", "flavor": "small", "min-ready": 2, "max-ready-age": 60}],
        "section": [
            {
                "name": "base",
                "connection": "city",
                "launch-attempts": 2,
                "image-defaults": {"username": "debian", "tags": {"a": "1"}},
                "label-defaults": {"boot-timeout": 120, "max-ready-age": 999},
                "resource-limits": {"instances": 10},
                "images": [{"name": "debian", "image-id": "debian-12", "tags": {"b": "2"}}],
            },
            {
                "name": "child",
                "parent": "base",
                "flavors": [{"name": "small", "flavor-name": "m1.small"}],
                "resource-limits": {"cores": 20},
            },
        ],
        "provider": [
            {"name": "one", "section": "child", "region": "Lon1", "labels": ["debian-small"], "_project": "h/config"}
        ],
    }
    return {**plain, **changes}


def test_sections_merge_from_the_root_and_objects_are_completed():
    (spec,), problems = provider_specs("t", objects(), CONNECTIONS)
    assert problems == []
    assert spec.canonical_name == "h%2Fconfig/one"
    assert (spec.cloud, spec.region, spec.rate, spec.launch_attempts) == ("citycloud-like", "Lon1", 5.0, 2)
    assert spec.limits == Resources(instances=10, cores=20)
    (label,) = spec.labels
    assert (label.min_ready, label.boot_timeout_s) == (2, 120)
    assert label.max_ready_age_s == 60, "a value on the top-level object beats a default"
    assert (label.image.image_id, label.image.username) == ("debian-12", "debian")
    assert label.image.tags == {"a": "1", "b": "2"}
    assert label.flavor.flavor_name == "m1.small"


def test_one_broken_provider_does_not_take_the_others_with_it():
    good = objects()["provider"][0]
    bad = {"name": "two", "section": "nowhere", "labels": ["debian-small"]}
    specs, problems = provider_specs("t", objects(provider=[good, bad]), CONNECTIONS)
    assert [s.name for s in specs] == ["one"]
    assert [(p.provider, p.message) for p in problems] == [("two", "section nowhere is not defined")]


def test_what_is_wrong_is_said():
    def problem(**changes: Any) -> str:
        specs, problems = provider_specs("t", objects(**changes), CONNECTIONS)
        assert specs == []
        return problems[0].message

    assert "not defined at top level" in problem(image=[])
    assert "connection nosuch is not configured" in problem(
        section=[{"name": "child", "connection": "nosuch", "images": ["debian"], "flavors": ["small"]}]
    )
    assert "driver gerrit" in problem(
        section=[{"name": "child", "connection": "review", "images": ["debian"], "flavors": ["small"]}]
    )
    final = objects()["section"]
    final[0]["images"][0]["final"] = True
    final[1]["images"] = ["debian"]
    assert "final" in problem(section=final)


def test_static_providers_need_no_flavor_name_and_reuse_their_machines():
    section = {"name": "lab", "connection": "lab", "images": ["debian"], "flavors": ["small"]}
    provider = {
        "name": "rack",
        "section": "lab",
        "labels": ["debian-small"],
        "nodes": [{"name": "10.0.0.1", "label": "debian-small", "connection-port": 2222, "username": "ci"}],
    }
    (spec,), problems = provider_specs("t", objects(section=[section], provider=[provider]), CONNECTIONS)
    assert problems == []
    assert spec.driver == "static"
    assert spec.labels[0].reuse
    assert spec.static_nodes[0].connection_port == 2222
