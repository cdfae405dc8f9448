"""What the small installation is made of: regions, tenant, pipelines, jobs. All files are JSON or YAML as people write."""

from __future__ import annotations

REGIONS = """\
seed: 5
factor: 0.02
regions:
- {cloud: alpha, region: one, profile: ovh-like, city: Gravelines, country: FR, jurisdiction: EU}
- {cloud: beta, region: two, profile: citycloud-like, city: London, country: GB, jurisdiction: GB}
"""

PIPELINES = """\
- pipeline:
    name: check
    manager: independent
    trigger:
      review:
        - event: patchset-created
        - event: comment-added
          comment: (?i)recheck
    success:
      review: {Verified: 1}
    failure:
      review: {Verified: -1}

- pipeline:
    name: gate
    manager: dependent
    precedence: high
    require:
      review:
        open: true
        current-patchset: true
        approval:
          - Code-Review: 2
          - Workflow: 1
    trigger:
      review:
        - event: comment-added
          approval:
            - Workflow: 1
    start:
      review: {Verified: 0}
    success:
      review: {Verified: 2, submit: true}
    failure:
      review: {Verified: -2}

- pipeline:
    name: post
    manager: independent
    post-review: true
    trigger:
      review:
        - event: ref-updated
          ref: ^refs/heads/.*$
"""

JOBS = """\
- job:
    name: base
    parent: null
    timeout: 300

- nodeset:
    name: one
    nodes:
      - {name: server, label: small}

- job:
    name: unit
    parent: base
    nodeset: one
    run: playbooks/unit.yaml

- job:
    name: local
    parent: base
    run: playbooks/local.yaml

- job:
    name: fill
    parent: base
    files: ^fill/.*
    run: playbooks/fill.yaml

- project:
    name: project-config
    check: {jobs: [noop]}
    gate: {jobs: [noop]}

- project:
    name: demo/app
    check: {jobs: [unit]}
    gate: {jobs: [unit]}
    post: {jobs: [local]}

- project:
    name: demo/lib
    check: {jobs: [local, fill]}
    gate: {jobs: [local]}
"""

PROVIDERS = """\
- image: {name: debian, type: cloud}
- flavor: {name: small}
- label: {name: small, image: debian, flavor: small}

- section:
    name: common
    abstract: true
    image-defaults: {username: debian, connection-port: 2222}
    label-defaults: {key-name: trunkline, boot-timeout: 20}
    launch-timeout: 20
    flavors:
      - {name: small, flavor-name: small}
    images:
      - {name: debian, image-id: debian-12}
    labels:
      - {name: small}

- section: {name: one, parent: common, connection: alpha, region: one}
- section: {name: two, parent: common, connection: beta, region: two}

- provider:
    name: alpha-one
    section: one
    labels: [{name: small}]

- provider:
    name: beta-two
    section: two
    labels: [{name: small}]
"""

_DESK = """\
    - name: Ask the desk
      uri:
        url: "{{ desk }}/?job={{ zuul.job }}&build={{ zuul.build }}&pipeline={{ zuul.pipeline }}&attempt={{ zuul.attempts }}\
&change={{ (zuul.change ~ ',' ~ zuul.patchset) if zuul.change is defined else zuul.branch }}"
        timeout: 280
      register: told
    - name: Take its verdict
      fail:
        msg: the desk says no
      when: told.json.verdict != "pass"
"""

LOCAL = f"""\
- hosts: localhost
  gather_facts: false
  tasks:
{_DESK}"""

UNIT = f"""\
- hosts: all
  gather_facts: false
  tasks:
    - name: Say who this is
      command: hostname

{LOCAL}"""

FILL = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Write more than is allowed
      command: dd if=/dev/zero of={{ zuul.executor.work_root }}/{{ item }} bs=1M count=10
      loop: [one, two, three, four]
    - name: Wait to be noticed
      command: tail -f /dev/null
"""

CONFIG = {
    "zuul.d/pipelines.yaml": PIPELINES,
    "zuul.d/jobs.yaml": JOBS,
    "zuul.d/providers.yaml": PROVIDERS,
    "playbooks/unit.yaml": UNIT,
    "playbooks/local.yaml": LOCAL,
    "playbooks/fill.yaml": FILL,
}

TENANT = {
    "tenant": {
        "name": "small",
        "source": {
            "review": {
                "config-projects": [{"project-config": {"include-provider-config": True}}],
                "untrusted-projects": ["demo/app", "demo/lib"],
            }
        },
    }
}
