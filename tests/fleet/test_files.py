"""Application files: what is understood, what is refused, and where each fault is said to be."""

import pytest

from trunkline import fleet
from trunkline.config.source import SourceContext
from trunkline.fleet.files import pick, read

CONTEXT = SourceContext("gerrit", "shop", "main", "", False, "review/shop")
WHOLE = """\
- application:
    name: shop
    instances: 6
    label: ubuntu-noble
    placement:
      jurisdictions: [EU, CH, NO]
      clouds: {only: [ovh, rack]}
      regions: {never: [GRA]}
      near: [{city: London, weight: 3}, {city: Stockholm}]
      spread: {providers: 2, regions: 3}
      survive: provider
    min-healthy: 4
    deploy: {job: deploy-shop, on: landed}
    update: {max-parallel: 2, min-healthy-time: 10s, healthy-deadline: 5m}
    health: [{http: {port: 8080, path: /healthz, expect: 204}, interval: 5s, timeout: 1500ms, fail-after: 4, pass-after: 1}]
    endpoints: {dns: {zone: shop.example.com, name: www, ttl: 30}, policy: all}
    failover: {detect: 30s, cooldown: 10m, max-moving: 50%}
"""
SMALL = """\
- application:
    name: shop
    label: ubuntu
    deploy: {job: deploy-shop}
"""


def one(text):
    found = read({"trunkline.yaml": text}, CONTEXT)
    assert not found.errors, found.errors[0].message
    (defined,) = found.defined
    return defined.application


def faults(text):
    found = read({"trunkline.yaml": text}, CONTEXT)
    assert not found.defined
    return found.errors


def fault(text):
    (error,) = faults(text)
    return error


def test_every_supported_key_is_understood():
    assert one(WHOLE) == fleet.Application(
        name="shop",
        label="ubuntu-noble",
        instances=6,
        deploy=fleet.Deploy("deploy-shop", "shop"),
        placement=fleet.Placement(
            jurisdictions=("EU", "CH", "NO"),
            clouds=fleet.Only(only=("ovh", "rack")),
            regions=fleet.Only(never=("GRA",)),
            near=(fleet.Near("London", 3.0), fleet.Near("Stockholm")),
            spread_providers=2,
            spread_regions=3,
            survive=fleet.Survive.PROVIDER,
        ),
        min_healthy=4,
        update=fleet.Update(2, 10.0, 300.0),
        health=(fleet.HealthCheck(8080, "/healthz", 204, 5.0, 1.5, 4, 1),),
        dns=fleet.Dns("shop.example.com", "www", 30),
        failover=fleet.Failover(30.0, 600.0, 0.5),
    )


def test_the_smallest_file_is_one_instance_with_defaults():
    app = one(SMALL)
    assert app.instances == 1
    assert app.must_serve == 0
    assert app.drain_s == 10


def test_all_but_one_must_serve_by_default():
    assert one(SMALL + "    instances: 5\n").must_serve == 4


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("network: {ports: [80]}", "network"),
        ("volumes: [{name: data, size-gb: 5}]", "volumes"),
        ("placement: {budget: {hourly: 3.0}}", "budget"),
        ("update: {canary: 1}", "canary"),
        ("update: {auto-promote: true}", "auto-promote"),
        ("update: {progress-deadline: 20m}", "progress-deadline"),
        ("update: {auto-revert: true}", "auto-revert"),
        ("update: {order: region-by-region}", "order"),
        ("update: {replace: true}", "replace"),
        ("endpoints: {policy: near}", "policy: near"),
        ("endpoints: {policy: weighted}", "policy: weighted"),
        ("failover: {replace-within: 10m}", "replace-within"),
        ("failover: {fence: confirm}", "fence"),
        ("failover: {fence-after: 15m}", "fence-after"),
        ("instances: {web: 4, worker: 2}", "instances by group"),
    ],
)
def test_what_is_not_built_yet_is_refused_by_name_and_place(line, what):
    error = fault(SMALL + f"    {line}\n")
    assert f"{what}" in error.short
    assert "not supported yet" in error.short
    assert error.line == 5
    assert error.message.startswith("trunkline.yaml:5:")
    assert line in error.message


@pytest.mark.parametrize(
    ("line", "short", "mend"),
    [
        ("lable: x", 'unknown key "lable" in application', 'Did you mean "label"?'),
        ("placement: {near: [{city: Londn}]}", 'the city "Londn" is not known', 'Did you mean "London"?'),
        (
            "placement: {jurisdictions: [Europe]}",
            '"Europe" is not a jurisdiction',
            "Use EU or a two-letter country code.",
        ),
        ("placement: {survive: vendor}", 'survive can not be "vendor"', "Known are none, server, region, provider."),
        ("min-healthy: 3", "min-healthy is more than the 1 instances", ""),
        ("placement: {spread: {providers: 2}}", "1 instances can not be in 2 providers", ""),
        ("update: {min-healthy-time: soon}", "min-healthy-time must be a duration", "Write 30s, 5m, 6h, or seconds."),
        ("failover: {max-moving: half}", "max-moving must be a part of the instances", "Write 50%."),
        ("instances: -1", "instances must be a whole number from 0 to 10000", ""),
        ("health: [{http: {port: 99999}}]", "port must be a whole number from 1 to 65535", ""),
        ("health: {http: {}}", "health must be a list of checks, it is a map", ""),
        ("endpoints: {dns: {name: www}}", "dns has no zone", "Add `zone: …`."),
    ],
)
def test_a_fault_says_what_and_how_to_mend_it(line, short, mend):
    error = fault(SMALL + f"    {line}\n")
    assert error.short == short
    assert error.mend == mend
    assert error.line == 5


def test_all_faults_of_an_application_are_told_at_once():
    assert len(faults(WHOLE.replace("spread:", "spred:").replace("job:", "jobb:").replace("ttl: 30", "ttl: x"))) == 4


def test_a_missing_key_is_named():
    assert fault(SMALL.replace("label", "#label")).short == "application has no label"


def test_one_broken_application_takes_no_other_one_away():
    found = read({"trunkline.yaml": SMALL + SMALL.replace("shop", "cart").replace("label", "lable")}, CONTEXT)
    assert [d.application.name for d in found.defined] == ["shop"]
    assert {e.line for e in found.errors} == {6, 7}


def test_a_name_defined_twice_is_an_error_at_the_second():
    found = read({"trunkline.d/a.yaml": SMALL, "trunkline.d/b.yaml": SMALL}, CONTEXT)
    assert len(found.defined) == 1
    assert found.errors[0].message.startswith("trunkline.d/b.yaml:1:1")


def test_broken_yaml_is_located():
    error = fault("- application: {name: [}\n")
    assert "not valid YAML" in error.short
    assert error.line == 1


def test_another_kind_is_refused():
    assert fault("- job:\n    name: x\n").short == 'unknown kind "job"'


def test_the_first_place_that_exists_is_read_and_no_other():
    both = ["trunkline.d/b.yaml", "trunkline.d/a.yaml", ".trunkline.yaml", "README"]
    assert pick(both) == ["trunkline.d/a.yaml", "trunkline.d/b.yaml"]
    assert pick([*both, "trunkline.yaml"]) == ["trunkline.yaml"]
    assert pick([".trunkline.d/x.yaml"]) == [".trunkline.d/x.yaml"]
    assert pick(["README"]) == []


def test_an_empty_file_defines_nothing():
    found = read({"trunkline.yaml": ""}, CONTEXT)
    assert not found.defined
    assert not found.errors
