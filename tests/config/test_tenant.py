"""The tenant file: projects and what is loaded of them, limits, rules, errors."""

import msgspec
import pytest

from tests.config.world import CONNECTIONS, HOST, tenant_of
from trunkline.config import ProjectSpec, TenantSpec, config_paths, load_tenants


def load(text: str):  # type: ignore[no-untyped-def]
    return load_tenants(text, "main.yaml", CONNECTIONS)


def project(options: object, trusted: bool = False) -> ProjectSpec:
    listed = [{"org/p": options}]
    tenant = tenant_of(config=listed, untrusted=[]) if trusted else tenant_of(untrusted=listed)  # type: ignore[arg-type]
    return next(p for p in tenant.projects if p.name == "org/p")


def test_config_projects_come_first_each_in_its_listed_order():
    tenant = tenant_of(config=("c2", "c1"), untrusted=("b", "a"))
    assert [p.name for p in tenant.projects] == ["c2", "c1", "b", "a"]
    assert tenant.projects[0].canonical_name == f"{HOST}/c2"
    assert [p.trusted for p in tenant.projects] == [True, True, False, False]


@pytest.mark.parametrize(
    ("options", "has", "lacks"),
    [
        ({}, "job", "pipeline"),
        ({}, "job", "provider"),
        ({"include": "job"}, "job", "project"),
        ({"include": []}, None, "job"),
        ({"exclude": "job"}, "project", "job"),
        ({"include-provider-config": True}, "provider", "pipeline"),
        ({"include": "nodeset", "include-provider-config": True}, "label", "job"),
    ],
)
def test_classes_that_are_loaded(options, has, lacks):
    classes = project(options or {"shadow": []}).classes
    assert has is None or has in classes
    assert lacks not in classes


def test_groups_pass_their_options_on():
    group = {
        "projects": ["a", {"b": {"include": "job"}}, {"projects": ["c"], "exclude": "queue"}],
        "include": ["nodeset", "queue"],
    }
    tenant = tenant_of(untrusted=[group])
    found = {p.name: p.classes for p in tenant.projects if not p.trusted}
    assert found == {"a": {"nodeset", "queue"}, "b": {"job"}, "c": {"nodeset"}}


def test_branches_are_included_alone_or_excluded():
    assert not project({"include-branches": "main"}).loads_branch("mainx")
    assert project({"include-branches": "main.*", "exclude-branches": "mainx"}).loads_branch("mainx")
    assert not project({"exclude-branches": ["feature/.*"]}).loads_branch("feature/a")
    assert not project({"always-dynamic-branches": "feature/.*"}).loads_branch("feature/a")
    assert project({"load-branch": "devel"}, trusted=True).loads_branch("devel")
    assert not project({"load-branch": "devel"}, trusted=True).loads_branch("master")


def test_paths_of_configuration():
    is_config = config_paths(project({"extra-config-paths": ["ci.yaml", "ci.d/"]}))
    assert all(
        map(is_config, ["zuul.yaml", ".zuul.yaml", "zuul.d/a/b.yaml", ".zuul.d/x.yaml", "ci.yaml", "ci.d/y.yaml"])
    )
    assert not any(map(is_config, ["a.yaml", "zuul.d/readme.rst", "src/zuul.yaml"]))
    assert not config_paths(project({"include": []}))("zuul.yaml")


@pytest.mark.parametrize(
    ("text", "name", "word"),
    [
        ("- tenant: {name: a, source: {gerit: {}}}\n", "Unknown Connection", "gerit"),
        ("- tenant: {name: a, access-rules: r}\n", "AuthZ Rule Not Found", "r"),
        (
            "- authorization-rule: {name: r, conditions: {}}\n- tenant: {name: a, role-mappings: {r: x}}\n",
            "AuthZ Role Not Found",
            "x",
        ),
        ("- tenant: {name: a, semaphores: s}\n", "Global Semaphore Not Found", "s"),
        ("- tenant: {name: a, max-nodes: 3}\n", "Unknown", "max-nodes"),
        ("- tenant: {name: a}\n- tenant: {name: a}\n", "Unknown", "twice"),
        ("- role: {name: admin}\n", "Unknown", "built in"),
        ("- tenat: {name: a}\n", "Unknown", "tenat"),
        ("- tenant: {name: a, source: {gerrit: {untrusted-projects: [p, p]}}}\n", "Unknown", "listed twice"),
        (
            "- tenant: {name: a, source: {gerrit: {untrusted-projects: [{p: {extra-config-paths: zuul.d/}}]}}}\n",
            "Unknown",
            "read anyway",
        ),
    ],
)
def test_mistakes_are_named_and_located(text, name, word):
    (error,) = load(text).errors
    assert error.name == name
    assert word in error.short
    assert error.line >= 1


def test_everything_of_a_tenant_is_read_and_survives_json():
    text = """
- global-semaphore: {name: g, max: 7}
- authorization-rule: {name: r, conditions: {a.b: c}}
- role: {name: dev, permissions: {read: true, enqueue: {conditions: {project: org/p}}}}
- api-root: {access-rules: r}
- tenant:
    name: a
    source: {gerrit: {config-projects: [c], untrusted-projects: [p]}}
    max-changes-per-pipeline: 1
    max-dependencies: 2
    max-nodes-per-job: 3
    max-job-timeout: 4
    max-oidc-ttl: 5
    default-oidc-ttl: 6
    allowed-oidc-issuers: i
    exclude-unprotected-branches: true
    exclude-locked-branches: true
    default-parent: dp
    default-ansible-version: 9
    allowed-triggers: gerrit
    allowed-reporters: [gerrit]
    allowed-labels: [a, {regex: b, negate: true}]
    disallowed-labels: c
    web-root: w
    admin-rules: r
    access-rules: r
    anonymous-read-access: false
    role-mappings: {r: [dev, admin]}
    authentication-realm: z
    semaphores: g
    use-nodepool: false
"""
    loaded = load(text)
    assert loaded.errors == ()
    tenant = loaded.tenants["a"]
    assert tenant.global_semaphores == {"g": 7}
    assert (tenant.default_parent, tenant.default_ansible_version, tenant.use_nodepool) == ("dp", "9", False)
    assert tenant.role_mappings == {"r": ("dev", "admin")}
    assert msgspec.convert(msgspec.to_builtins(tenant), TenantSpec) == tenant
