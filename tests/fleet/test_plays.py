"""Plays: one behaviour of the fleet each, on the small world."""

import re
from pathlib import Path

from msgspec.structs import replace

from tests.fleet.worlds import DALLAS, FOUR, LONDON, PARIS, STOCKHOLM, application, region, running, world
from trunkline import fleet
from trunkline.fleet import Condition, InstanceState, Leaving, RolloutState, Survive


def providers(it):
    return sorted(i.provider for i in it.live())


def test_four_instances_near_london_go_to_the_two_nearest_allowed_providers():
    it = running()
    assert providers(it) == ["lon", "lon", "par", "par"]
    assert len(it.serving()) == 4
    assert it.status.condition is Condition.STEADY
    assert {i.commit for i in it.live()} == {"c1"}


def test_the_first_commit_is_deployed_to_all_fresh_servers_by_one_build():
    it = running()
    batches = [a for a in it.log if isinstance(a, fleet.DeployBatch)]
    assert [len(b.instances) for b in batches] == [4]


def test_planning_again_on_a_steady_world_asks_for_nothing():
    it = running()
    assert all(not it.tick() for _ in range(100))


def test_a_dead_region_is_replaced_within_policy_and_never_in_the_us():
    it = running()
    it.kill("lon")
    it.until(lambda: len(it.serving()) == 4)
    it.settle()
    assert providers(it) == ["par", "par", "sto", "sto"]
    assert not any(isinstance(a, fleet.Place) and a.provider == "dfw" for a in it.log)


def test_when_a_dead_region_comes_back_nothing_of_ours_is_left_there_and_nothing_moves_back():
    it = running()
    it.kill("lon")
    it.settle()
    it.revive("lon")
    it.settle()
    assert not any(s.exists for s in it.servers.values() if s.provider == "lon")
    assert providers(it) == ["par", "par", "sto", "sto"]
    assert not [i for i in it.state.instances if i.state is not InstanceState.RUNNING]


def test_an_api_that_does_not_answer_moves_nothing_while_the_servers_serve():
    it = running()
    it.cut_api("lon")
    assert all(not it.tick() for _ in range(100))


def test_one_blind_vantage_point_moves_nothing():
    it = running()
    it.blind.add("east")
    assert all(not it.tick() for _ in range(100))


def test_one_bad_probe_moves_nothing():
    it = running()
    victim = it.live()[0].id
    it.servers[victim].sick = True
    assert not it.tick()
    it.servers[victim].sick = False
    assert all(not it.tick() for _ in range(20))


def test_if_most_regions_vanish_at_once_nothing_moves():
    it = running()
    before = it.state.instances
    for provider in ("lon", "par", "sto"):
        it.kill(provider)
    it.run(1200)
    assert [(i.id, i.published, i.state) for i in it.state.instances] == [(i.id, i.published, i.state) for i in before]
    assert it.status.condition is Condition.HOLDING
    for provider in ("lon", "par", "sto"):
        it.revive(provider)
    it.settle()
    assert len(it.serving()) == 4


def test_a_region_that_comes_back_before_replacements_serve_is_counted_on_again():
    it = running(boot_s=300)
    it.kill("lon")
    it.until(lambda: any(i.leaving is Leaving.LOST for i in it.live()))
    it.revive("lon")
    it.settle()
    assert len(it.serving()) == 4
    assert providers(it) == ["lon", "lon", "par", "par"]


def test_a_failing_server_is_replaced_while_its_region_answers():
    it = running()
    victim = it.live()[0].id
    it.servers[victim].sick = True
    it.until(lambda: victim not in [i.id for i in it.live()])
    it.settle()
    assert len(it.serving()) == 4


def test_a_server_that_the_cloud_no_longer_lists_is_replaced():
    it = running()
    it.servers[it.live()[0].id].exists = False
    it.run(10)
    it.settle()
    assert len(it.serving()) == 4


def test_an_application_that_fails_everywhere_is_not_moved():
    it = running()
    for server in it.servers.values():
        server.sick = True
    it.run(3600)
    assert it.state.serial == 4
    assert it.status.condition is Condition.HOLDING


def test_a_rollout_goes_one_by_one_and_never_below_min_healthy():
    it = running()
    it.land("c2")
    it.tick()
    lowest = 4
    while it.state.rollout.state is RolloutState.RUNNING:
        it.tick()
        lowest = min(lowest, len(it.serving()))
        assert len([i for i in it.live() if i.state is InstanceState.DEPLOYING]) <= 1
    assert lowest >= 3
    assert {i.commit for i in it.live()} == {"c2"}
    assert it.state.good == "c2"


def test_a_commit_that_never_gets_healthy_goes_back_to_the_last_good_one():
    it = running()
    it.bad_commits.add("c2")
    it.land("c2")
    it.tick()
    it.until(lambda: it.state.rollout.state is RolloutState.FAILED)
    assert len(it.serving()) == 3
    it.settle()
    assert {i.commit for i in it.live()} == {"c1"}
    assert len(it.serving()) == 4
    assert it.status.condition is Condition.ROLLOUT_FAILED


def test_a_commit_whose_deploy_fails_twice_is_given_up():
    it = running()
    it.broken_builds.add("c2")
    it.land("c2")
    it.settle()
    assert {i.commit for i in it.live()} == {"c1"}
    assert it.state.rollout.state is RolloutState.FAILED
    assert len(it.serving()) == 4


def test_a_build_lost_with_its_executor_is_done_again_and_counts_against_nobody():
    it = running()
    it.land("c2")
    it.tick()
    for _ in range(3):
        it.until(lambda: any(i.state is InstanceState.DEPLOYING for i in it.live()))
        it.tick()
        (build,) = {i.build for i in it.live() if i.state is InstanceState.DEPLOYING}
        it.inbox.append(fleet.BuildCompleted(build, "RETRY"))
        it.tick()
    it.settle()
    assert it.state.good == "c2"
    assert len(it.serving()) == 4


def test_a_newer_commit_overtakes_a_rollout_that_is_under_way():
    it = running()
    it.land("c2")
    it.run(30)
    it.land("c3")
    it.settle()
    assert {i.commit for i in it.live()} == {"c3"}


def test_a_landing_told_twice_is_rolled_out_once():
    it = running()
    it.land("c2")
    it.settle()
    deploys = it.state.deploys
    it.land("c1")
    it.land("c2")
    it.settle()
    assert it.state.deploys == deploys


def test_when_all_instances_must_serve_a_spare_carries_the_rollout():
    it = running(application(instances=2, min_healthy=2))
    it.land("c2")
    it.tick()
    while it.state.rollout.state is RolloutState.RUNNING:
        it.tick()
        assert len(it.serving()) >= 2
    it.settle()
    assert {i.commit for i in it.live()} == {"c2"}
    assert len(it.live()) == 2


def test_a_forbidden_jurisdiction_is_left_at_once():
    it = running()
    strict = replace(it.state.application.placement, jurisdictions=("EU",))
    it.land("c2", replace(it.state.application, placement=strict))
    it.tick()
    assert {i.jurisdiction for i in it.live()} == {"EU"}
    it.settle()
    assert len(it.serving()) == 4


def test_an_excluded_cloud_is_left_gracefully():
    it = running()
    never = replace(it.state.application.placement, clouds=fleet.Only(never=("rack",)))
    it.land("c2", replace(it.state.application, placement=never, update=fleet.Update(4, 0, 300)))
    it.tick()
    while any(i.provider == "lon" for i in it.live()):
        it.tick()
        assert len(it.serving()) >= 3
    it.settle()
    assert providers(it) == ["par", "par", "sto", "sto"]


def test_a_landed_file_scales_down_and_keeps_the_spread():
    it = running()
    it.land("c2", replace(it.state.application, instances=2))
    it.settle()
    assert providers(it) == ["lon", "par"]
    assert len(it.serving()) == 2


def test_a_file_that_is_gone_retires_the_application():
    it = running()
    it.land("c2", None)
    it.settle()
    assert not it.state.instances
    assert not any(s.exists for s in it.servers.values())
    assert it.status.condition is Condition.RETIRED


def test_a_provider_that_refuses_is_avoided_and_another_one_takes_over():
    it = world(refuses={"lon"})
    it.land("c1")
    it.until(lambda: len(it.serving()) == 4)
    assert "lon" not in providers(it)


def test_without_enough_allowed_providers_it_says_which_rule_fails_and_keeps_what_it_may():
    it = running(regions=(LONDON, DALLAS))
    assert providers(it) == ["lon", "lon", "lon"]
    assert it.status.condition is Condition.CONSTRAINED
    assert "spread wants 2 providers" in it.status.messages[0]


def test_no_place_names_the_obstacle_of_each_region():
    it = running(regions=(DALLAS, region("fra", "otc", "Frankfurt", "EU", headroom=0)))
    assert it.live() == []
    assert "dfw: jurisdiction US is outside EU, GB" in it.status.messages[0]
    assert "fra: its quota is used up" in it.status.messages[0]


def test_two_regions_of_one_vendor_are_one_provider():
    again = region("gra", "ovh", "Gravelines", "EU", headroom=20)
    it = running(regions=(PARIS, again, STOCKHOLM))
    assert len({i.vendor for i in it.live()}) == 2


def test_surviving_a_provider_is_claimed_only_with_known_room_elsewhere():
    app = application(instances=3)
    assert running(app).status.survives is Survive.PROVIDER
    blind = tuple(replace(r, headroom=None) for r in FOUR)
    assert running(app, blind).status.survives is Survive.SERVER


def test_a_policy_that_must_survive_a_provider_says_so_when_it_cannot():
    app = application(placement=replace(application().placement, survive=Survive.PROVIDER))
    it = running(app, tuple(replace(r, headroom=None) for r in (LONDON, PARIS, DALLAS)))
    assert it.status.condition is Condition.CONSTRAINED
    assert "survive the loss of any provider" in it.status.messages[0]


def test_a_country_of_the_union_is_inside_the_jurisdiction_eu():
    sweden = region("kna", "cleura", "Karlskrona", "SE", country="SE", headroom=9)
    it = running(regions=(sweden, LONDON))
    assert "kna" in providers(it)


def test_publish_comes_before_drain_and_drain_before_delete():
    it = running()
    never = replace(it.state.application.placement, clouds=fleet.Only(never=("rack",)))
    it.land("c2", replace(it.state.application, placement=never))
    it.settle()
    for old in ("shop-1", "shop-2"):
        if next(a for a in it.log if isinstance(a, fleet.Place) and a.instance == old).provider != "lon":
            continue
        drain = next(k for k, a in enumerate(it.log) if isinstance(a, fleet.Drain) and a.instance == old)
        delete = next(k for k, a in enumerate(it.log) if isinstance(a, fleet.Delete) and a.instance == old)
        assert any(isinstance(a, fleet.Publish) for a in it.log[:drain])
        assert drain < delete


def test_the_table_of_moves_reaches_the_end_from_every_state():
    assert STOCKHOLM.vendor == "cleura"
    for state in InstanceState:
        reached, todo = set(), [state]
        while todo:
            found = todo.pop()
            if found not in reached:
                reached.add(found)
                todo.extend(fleet.MOVES[found])
        assert InstanceState.GONE in reached


def test_the_picture_in_the_documentation_is_the_table_of_moves():
    page = Path(__file__).parents[2] / "docs" / "fleet.md"
    drawn = {tuple(line.split(" --> ")) for line in re.findall(r"^    ([a-z]+ --> [a-z]+)$", page.read_text(), re.M)}
    assert drawn == {(a.value, b.value) for a, after in fleet.MOVES.items() for b in after}
