"""Builds on the executor's localhost, from request to outcome."""

import asyncio
import json
from pathlib import Path

from tests.executor.scene import scene

RETURNS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: In the workspace
      command: git -C {{ zuul.executor.work_root }}/{{ zuul.project.src_dir }} rev-parse HEAD
      register: head
    - name: Tell
      zuul_return:
        data:
          head: "{{ head.stdout }}"
          zuul:
            log_url: https://logs.example.com/1
            artifacts: [{name: tar, url: x.tar}]
            warnings: [careful]
"""


def test_a_trusted_playbook_on_localhost_runs_and_returns_data(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path) as s:
            request = s.request(run=(s.playbook("run", RETURNS),))
            outcome = await s.run(request)
            assert outcome.result == "SUCCESS", s.console
            assert outcome.data["head"] == request.change.commit_id
            assert outcome.log_url == "https://logs.example.com/1/"
            assert outcome.artifacts == ({"name": "tar", "url": "https://logs.example.com/1/x.tar"},)
            assert outcome.warnings == ("careful",)
            assert s.sink.events == ["started", "nodes in use", "setup 0", "run 0"]
            lines = s.console.split("\n")
            assert lines[0] == "Job console starting"
            assert "RUN START: [trusted : review.example.com/config/playbooks/run.yaml@master]" in lines
            assert f"localhost | {request.change.commit_id}" in lines
            assert "localhost | ok: 2 changed: 2 unreachable: 0 failed: 0 skipped: 0 rescued: 0 ignored: 0" in lines
            assert lines[-2] == "RUN END RESULT_NORMAL: [trusted : review.example.com/config/playbooks/run.yaml@master]"
            assert s.document[0]["plays"][0]["tasks"][1]["task"]["name"] == "Tell"
            assert json.loads((s.build / "work/results.json").read_text())["secret_data"] == {}

    asyncio.run(play())
