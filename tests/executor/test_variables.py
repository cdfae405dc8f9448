"""The `zuul` variables and inventories, held against recorded ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.shared import SHARED, needs_shared
from trunkline.config import FrozenJob
from trunkline.config.frozen import IncludeVars
from trunkline.executor import BuildRequest, Checkout, NodeInfo, ProjectInfo, RefInfo
from trunkline.executor.checkout import choose_ref, src_dir
from trunkline.executor.inventory import (
    everywhere,
    from_frozen,
    host_variables,
    inventory,
    job_variables,
    known_hosts,
    to_yaml,
    unmarked,
    with_originals,
)
from trunkline.executor.jobdir import JobDir
from trunkline.executor.request import ArtifactInfo, WorkspaceMissing
from trunkline.executor.variables import UnsafeText, zuul_variables

RECORDED = (SHARED or Path("/nonexistent")) / "reference/executor-recordings"
CASES = sorted(path.parent for path in RECORDED.glob("inventory/*/*/inventory.yaml"))


class Loader(yaml.CSafeLoader):
    pass


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader)


def ref(values: dict[str, Any], full_ref: str) -> RefInfo:
    names = ("branch", "tag", "change", "patchset", "commit_id", "oldrev", "newrev", "topic", "bundle_id")
    return RefInfo(
        connection="gerrit",
        canonical_hostname=values["project"]["canonical_hostname"],
        project=values["project"]["name"],
        ref=full_ref,
        url=values["change_url"],
        message=values.get("change_message"),
        **{name: values.get(name) for name in names},
    )


def request_of(zuul: dict[str, Any], **job: Any) -> BuildRequest:
    """The request that must have led to these variables."""
    projects = tuple(
        ProjectInfo(
            connection="gerrit",
            canonical_hostname=entry["canonical_hostname"],
            name=entry["name"],
            canonical_name=name,
            required=entry["required"],
        )
        for name, entry in zuul["projects"].items()
    )
    included = tuple(
        IncludeVars(entry["name"], entry["connection"], entry["project"], f"review.example.com/{entry['project']}",
                    trusted=entry["trusted"], required=entry["required"], use_ref=entry["use_ref"])
        for entry in zuul["include_vars"]
    )  # fmt: skip
    return BuildRequest(
        uuid=zuul["build"],
        buildset=zuul["buildset"],
        event_id=zuul["event_id"],
        tenant=zuul["tenant"],
        pipeline=zuul["pipeline"],
        post_review=zuul["post_review"],
        job=FrozenJob(
            name=zuul["job"],
            project=zuul["project"]["canonical_name"],
            tags=tuple(zuul["jobtags"]),
            timeout=zuul["timeout"],
            pre_timeout=zuul["pre_timeout"],
            post_timeout=zuul["post_timeout"],
            include_vars=included,
            workspace_checkout=zuul["workspace_checkout"],
            **job,
        ),
        change=ref(zuul, zuul["ref"]),
        items=tuple(ref(entry, "") for entry in zuul["items"]),
        build_refs=tuple(ref(entry, "") for entry in zuul["build_refs"]),
        buildset_refs=tuple(ref(entry, "") for entry in zuul["buildset_refs"]),
        projects=projects,
        attempt=zuul["attempts"],
        max_attempts=zuul["max_attempts"],
        voting=zuul["voting"],
        child_jobs=tuple(zuul["child_jobs"]),
        artifacts=tuple(ArtifactInfo(**entry) for entry in zuul.get("artifacts", ())),
    )


@needs_shared
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_zuul_variables_equal_the_recorded_ones(case: Path) -> None:
    zuul = load(case / "inventory.yaml")["all"]["vars"]["zuul"]
    checkouts = {
        name: Checkout(ref=f"refs/heads/{entry['checkout']}", description=entry["checkout_description"], commit=entry["commit"])
        for name, entry in zuul["projects"].items()
    }  # fmt: skip
    where = JobDir(Path(zuul["executor"]["work_root"]).parent)
    made = zuul_variables(request_of(zuul), where, "executor.example.com", "11", checkouts, zuul["playbook_context"])
    assert isinstance(made.get("change_message", UnsafeText()), UnsafeText)
    del zuul["_inheritance_path"], made["_inheritance_path"]
    assert yaml.load(to_yaml(made), Loader) == zuul


def node_of(names: tuple[str, ...], values: dict[str, Any]) -> NodeInfo:
    kept = {key: values["zuul_node"][key] for key in values["zuul_node"] if key in NodeInfo.__struct_fields__}
    return NodeInfo(
        names=names,
        port=values["ansible_port"],
        username=values["ansible_user"],
        python_path=values["ansible_python_interpreter"],
        host_keys=("ssh-ed25519 AAAA",),
        **kept,
    )


@needs_shared
def test_host_variables_equal_the_recorded_ones() -> None:
    case = RECORDED / "inventory/everything/inv-2"
    recorded = load(case / "inventory.yaml")
    jobs = yaml.safe_load((RECORDED / "config/demo-app/zuul.d/inv.yaml").read_text())
    job = next(entry["job"] for entry in jobs if entry.get("job", {}).get("name") == "inv-2")
    known = recorded["all"]["hosts"]
    request = request_of(
        recorded["all"]["vars"]["zuul"],
        vars=job["vars"],
        host_vars=job["host-vars"],
        group_vars=job["group-vars"],
        extra_vars=job["extra-vars"],
    )
    nodes = (node_of(("controller",), known["controller"]), node_of(("compute1", "worker"), known["compute1"]))
    groups = {group["name"]: tuple(group["nodes"]) for group in job["nodeset"]["groups"]}
    request = BuildRequest(
        **{name: getattr(request, name) for name in request.__struct_fields__} | {"nodes": nodes, "groups": groups}
    )
    included = [{"included_var": "from demo/app", "deep": {"from_include": 1, "a": {"c": "included"}}}]
    base = job_variables(request, included)
    made = inventory(request, host_variables(request, base, "zuul"), everywhere(request, base))
    zuul = recorded["all"]["vars"].pop("zuul")
    assert zuul["job"] == "inv-2"
    assert yaml.load(to_yaml(unmarked(made)), Loader) == recorded


@needs_shared
def test_a_playbook_inventory_equals_the_recorded_one() -> None:
    recorded = load(RECORDED / "inventory/everything/inv-child/playbook_0/inventory.yaml")["all"]["hosts"]["controller"]
    original = recorded["unsafe_vars"]
    frozen = {key: value for key, value in recorded.items() if key != "unsafe_vars"}
    text = to_yaml(with_originals(frozen, original))
    assert yaml.load(text, Loader) == recorded
    assert "returned_jinja: !unsafe '{{ 1 + 1 }}'" in text


def test_text_that_was_evaluated_is_marked_never_to_be_again() -> None:
    answer = from_frozen({"a": {"__unsafe__": "{{ x }}"}, "b": ["plain", {"__unsafe__": "{% y %}"}]})
    assert to_yaml(answer) == "a: !unsafe '{{ x }}'\nb:\n- plain\n- !unsafe '{% y %}'\n"


def test_workspace_schemes() -> None:
    places = [src_dir(scheme, "host", "demo/app") for scheme in ("golang", "flat", "unique")]
    assert places == ["src/host/demo/app", "src/app", "src/host/demo/demo%2Fapp"]


def test_known_hosts_name_the_port_unless_it_is_22() -> None:
    nodes = [
        NodeInfo(names=("a",), label="l", interface_ip="10.0.0.1", host_keys=("ssh-rsa A",)),
        NodeInfo(names=("b",), label="l", interface_ip="10.0.0.2", port=2222, host_keys=("ssh-rsa B",)),
    ]
    assert known_hosts(nodes) == "10.0.0.1 ssh-rsa A\n[10.0.0.2]:2222 ssh-rsa B\n"


@pytest.mark.parametrize(
    ("project", "job", "expected"),
    [
        ({}, {}, ("refs/heads/stable", "zuul branch")),
        ({"override_checkout": "v1"}, {}, ("refs/tags/v1", "project override ref")),
        ({"override_checkout": "gone"}, {}, ("refs/heads/stable", "zuul branch")),
        ({"override_branch": "other"}, {"override_checkout": "v1"}, ("refs/heads/other", "project override branch")),
        ({}, {"override_checkout": "v1"}, ("refs/tags/v1", "job override ref")),
        ({}, {"override_branch": "other"}, ("refs/heads/other", "job override branch")),
    ],
)
def test_the_first_ref_that_exists_is_checked_out(
    project: dict[str, str], job: dict[str, str], expected: tuple[str, str]
) -> None:
    refs = {"refs/heads/master", "refs/heads/stable", "refs/heads/other", "refs/tags/v1"}
    change = RefInfo(connection="c", canonical_hostname="h", project="p", ref="refs/changes/1", branch="stable")
    request = BuildRequest(
        uuid="", buildset="", event_id="", tenant="", pipeline="", post_review=False,
        job=FrozenJob(name="j", project="h/p", **job), change=change, items=(change,),
    )  # fmt: skip
    info = ProjectInfo(connection="c", canonical_hostname="h", name="q", canonical_name="h/q", **project)
    assert choose_ref(request, info, refs) == expected
    with pytest.raises(WorkspaceMissing):
        choose_ref(request, info, set())
