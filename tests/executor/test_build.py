"""Builds on the executor's localhost, from request to outcome."""

import asyncio
import json
import time
from pathlib import Path

from tests.executor.scene import Executor, Scene
from trunkline.executor import BuildOutcome, BuildPrivate, clean_leftovers

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
SAYS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - debug:
        msg: "{{ zuul_execution_phase }} {{ zuul_execution_phase_index }} success={{ zuul_success | default('unset') }}
          will_retry={{ zuul_will_retry | default('unset') }}"
"""
FAILS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - shell: echo some output; exit 3
"""
HANGS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - command: sleep 1000
"""
UNREADABLE = """
- hosts: localhost
  taskz: []
"""
NO_RETRY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - zuul_return: {data: {zuul: {retry: false}}}
    - fail: {msg: for good}
"""


def said(scene: Scene) -> list[str]:
    return [line for line in scene.console.split("\n") if "will_retry=" in line]


def test_a_trusted_playbook_on_localhost_runs_and_returns_data(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    request = s.request(run=(s.playbook("run", RETURNS),))
    outcome = executor.go(s.run(request))
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


def test_phases_run_in_order_and_know_how_it_stands(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    says = s.playbook("says", SAYS)
    outcome = executor.go(s.run(s.request(pre=(says, says), run=(says,), post=(says,))))
    assert outcome.result == "SUCCESS", s.console
    assert said(s) == [
        "pre 0 success=unset will_retry=unset",
        "pre 1 success=unset will_retry=unset",
        "run 0 success=unset will_retry=unset",
        "post 0 success=True will_retry=False",
    ]


def test_a_failed_run_skips_later_ones_and_runs_post(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    says = s.playbook("says", SAYS)
    outcome = executor.go(s.run(s.request(run=(s.playbook("fails", FAILS), says), post=(says,))))
    assert outcome.result == "FAILURE"
    assert outcome.hold_hint
    assert "failing" in s.sink.events
    assert said(s) == ["post 0 success=False will_retry=False"]
    assert "localhost | some output" in s.console


def test_a_failed_pre_run_asks_for_another_attempt(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    says = s.playbook("says", SAYS)
    deeper = s.playbook("deeper", SAYS, level=2)
    fails = s.playbook("fails", FAILS, level=1)
    outcome = executor.go(s.run(s.request(pre=(fails, says), run=(says,), post=(deeper, says), max_attempts=2)))
    assert (outcome.result, outcome.retry_reason) == (None, "pre-run failed")
    assert said(s) == ["post 1 success=False will_retry=True"]
    s = executor.scene(tmp_path / "2")
    says = s.playbook("says", SAYS)
    request = s.request(pre=(s.playbook("fails", FAILS),), run=(says,), post=(says,), attempt=2, max_attempts=2)
    outcome = executor.go(s.run(request))
    assert (outcome.result, outcome.hold_hint) == (None, True)
    assert said(s) == ["post 0 success=False will_retry=False"]


def test_a_job_may_forbid_another_attempt(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    outcome = executor.go(s.run(s.request(pre=(s.playbook("fails", NO_RETRY),), run=(s.playbook("says", SAYS),))))
    assert outcome.result == "FAILURE"


def test_a_failed_post_run_wins_over_a_failed_run(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    fails, says = s.playbook("fails", FAILS), s.playbook("says", SAYS)
    outcome = executor.go(s.run(s.request(run=(fails,), post=(fails, says))))
    assert outcome.result == "POST_FAILURE"
    assert said(s) == ["post 1 success=False will_retry=False"]


def test_a_playbook_that_never_ends_is_timed_out_at_once(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    request = s.request(run=(s.playbook("hangs", HANGS),), post=(s.playbook("says", SAYS),), timeout=2)
    begin = time.monotonic()
    outcome = executor.go(s.run(request))
    assert outcome.result == "TIMED_OUT"
    assert time.monotonic() - begin < 8
    assert "RUN END RESULT_TIMED_OUT: [trusted" in s.console
    assert said(s) == ["post 0 success=False will_retry=False"]
    assert s.document[0]["plays"][0]["play"]["name"] == "This playbook timed out."


def test_an_abort_kills_at_once_and_runs_only_cleanup(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    says, cleanup = s.playbook("says", SAYS), s.playbook("cleanup", SAYS, cleanup=True)
    request = s.request(run=(s.playbook("hangs", HANGS),), post=(says, cleanup))

    async def work() -> tuple[BuildOutcome, float]:
        running = asyncio.create_task(s.run(request))
        await s.sink.until("run 0")
        while "TASK [command: sleep 1000]" not in s.console:
            await asyncio.sleep(0.02)
        begin = time.monotonic()
        s.control.abort("dequeued")
        await s.sink.until("post 1")
        took = time.monotonic() - begin
        return await running, took

    outcome, took = executor.go(work())
    assert outcome.result == "ABORTED"
    assert took < 1
    assert said(s) == ["post 1 success=False will_retry=False"]
    assert s.console.count("END RESULT_ABORTED") == 2


def test_a_paused_build_waits_until_it_is_resumed(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    pauses = s.playbook(
        "pauses",
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - zuul_return: {data: {registry: here, zuul: {pause: true}}}\n",
    )

    async def work() -> BuildOutcome:
        running = asyncio.create_task(s.run(s.request(run=(pauses,), post=(s.playbook("says", SAYS),))))
        await s.sink.until("paused")
        assert not running.done()
        s.control.resume()
        return await running

    assert executor.go(work()).result == "SUCCESS"
    assert s.sink.paused_data["registry"] == "here"
    assert "\n\nJob paused\nJob resumed\n\nPOST-RUN START" in s.console


def test_failure_output_turns_success_into_failure(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    prints = s.playbook("prints", FAILS.replace("exit 3", "true"))
    request = s.request(run=(prints,), post=(s.playbook("says", SAYS),), failure_output=(".*some out.*",))
    assert executor.go(s.run(request)).result == "FAILURE"
    assert "failing" in s.sink.events
    assert said(s) == ["post 0 success=True will_retry=False"]


def test_a_playbook_that_cannot_be_read_says_so(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    outcome = executor.go(s.run(s.request(run=(s.playbook("broken", UNREADABLE),))))
    assert outcome.result == "FAILURE"
    assert "\nANSIBLE PARSE ERROR\n" in s.console
    assert "'taskz' is not a valid attribute for a Play" in s.console
    assert s.document[0]["plays"][0]["play"]["name"].startswith("ANSIBLE PARSE ERROR ")


def test_a_missing_playbook_is_an_error_of_the_job(executor: Executor, tmp_path: Path) -> None:
    s = executor.scene(tmp_path)
    playbook = s.playbook("there", SAYS)
    s.project("config", {})
    (s.repos / "config/playbooks/there.yaml").unlink()
    s.project("config", {})
    outcome = executor.go(s.run(s.request(run=(playbook,))))
    assert outcome.result == "ERROR"
    assert outcome.error_detail == (
        f"Unable to find playbook {s.build.resolve()}/trusted/project_0/review.example.com/config/playbooks/there.yaml"
    )


def test_secrets_are_seen_by_their_playbook_only_and_never_on_disk(executor: Executor, tmp_path: Path) -> None:
    shows = """
- hosts: localhost
  gather_facts: false
  tasks:
    - debug: {msg: "token={{ (token | default({'value': 'none'})).value }}"}
"""
    s = executor.scene(tmp_path)
    owner = s.playbook("owner", shows, secrets=("token",))
    other = s.playbook("other", shows)
    private = BuildPrivate(secrets={"run:0": {"token": {"value": "hunter2 {{ zuul.branch }}"}}})
    outcome = executor.go(s.run(s.request(run=(owner, other)), private))
    assert outcome.result == "SUCCESS", s.console
    assert "\ntoken=hunter2 {{ zuul.branch }}\n" in s.console
    assert "\ntoken=none\n" in s.console
    for path in s.build.rglob("*"):
        if path.is_file() and path.name not in ("job-output.txt", "job-output.json", "console", "document"):
            assert b"hunter2" not in path.read_bytes(), path


def test_variables_of_trusted_playbooks_are_evaluated_once(executor: Executor, tmp_path: Path) -> None:
    shows = """
- hosts: localhost
  gather_facts: false
  tasks:
    - debug: {msg: "[{{ made }}] [{{ unsafe_vars.made }}] [{{ zuul.change_message }}] [{{ zuul_user_dir }}]"}
"""
    s = executor.scene(tmp_path)
    request = s.request(
        run=(s.playbook("trusted", shows), s.playbook("untrusted", shows, trusted=False)),
        vars={"made": "{{ zuul.branch }}-{{ 1 + 1 }}"},
    )
    outcome = executor.go(s.run(request))
    assert outcome.result == "SUCCESS", s.console
    shown = "[master-2] [{{ zuul.branch }}-{{ 1 + 1 }}] [A change"
    assert s.console.count(shown) == 2, s.console
    assert f"with {{{{ braces }}}}] [{s.build.resolve()}/work]" in s.console


def test_each_fork_runs_its_own_play(executor: Executor, tmp_path: Path) -> None:
    """The warm process has run a play; what it remembers must not reach its children."""
    scenes = [executor.scene(tmp_path / str(number)) for number in range(4)]

    async def work() -> None:
        runs = [
            s.run(s.request(run=(s.playbook("run", SAYS.replace("success=", f"number{number} success=")),)))
            for number, s in enumerate(scenes)
        ]
        assert {outcome.result for outcome in await asyncio.gather(*runs)} == {"SUCCESS"}

    executor.go(work())
    assert [said(s) for s in scenes] == [
        [f"run 0 number{number} success=unset will_retry=unset"] for number in range(4)
    ]
    ids = {s.document[0]["plays"][0]["tasks"][0]["task"]["id"] for s in scenes}
    assert len(ids) == 4


def test_what_a_lost_executor_left_is_cleaned(tmp_path: Path) -> None:
    live, dead = "a" * 32, "b" * 32
    for name in (live, dead, "not-a-build"):
        (tmp_path / name / "work").mkdir(parents=True)
    (tmp_path / dead / "work").chmod(0o500)
    assert clean_leftovers(tmp_path, {live}) == [dead]
    assert sorted(path.name for path in tmp_path.iterdir()) == [live, "not-a-build"]
