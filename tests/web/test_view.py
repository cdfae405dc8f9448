"""What the page makes of a status: pure functions."""

import pytest

from tests.web.sample import gate_items, item, job, queue, ref, sample_status, uuid
from trunkline.web import geography, wording
from trunkline.web.view import counts_of, job_view, pipelines_of, queue_view, ref_label

NOW = 1_800_000_000.0


def test_a_future_is_the_chain_of_items_ahead_without_those_that_fail():
    items = queue_view(queue("meadow", gate_items(NOW), 4), NOW).items
    assert [[stop.label for stop in item.future] for item in items] == [
        [],
        ["1201,1"],
        ["1201,1"],
        ["1201,1", "1205,2"],
        ["1201,1", "1205,2", "1206,1 +1"],
    ]
    assert [item.bypassed for item in items[2:4]] == [("1202,3",), ("1202,3",)]
    assert [item.state for item in items] == ["running", "failing", "running", "running", "outside"]


def test_a_long_queue_is_shown_from_its_head_and_counted_whole():
    long = [item(n, [ref(n, "meadow/api")], [], NOW, item_ahead=uuid(n - 1) if n > 1 else None) for n in range(1, 400)]
    shown = queue_view(queue("meadow", [long]), NOW)
    assert (len(shown.items), shown.hidden, shown.live) == (60, 339, 399)
    (last,) = queue_view(queue("meadow", [long]), NOW, only=frozenset({uuid(399)})).items
    assert len(last.future) == 398


def test_a_circle_in_what_is_ahead_ends():
    runs = gate_items(NOW)
    runs[0][0]["item_ahead"] = uuid(3)
    assert len(queue_view(queue("meadow", runs), NOW).items[2].future) == 1


def test_pipelines_with_work_come_first_and_are_counted():
    pipelines = pipelines_of(sample_status(NOW), NOW)
    assert [pipeline.name for pipeline in pipelines] == ["check", "gate", "post", "deploy"]
    counts = counts_of(sample_status(NOW))
    assert (counts.changes, counts.running, counts.failing) == (7, 6, 1)


@pytest.mark.parametrize(
    ("said", "state", "done"),
    [
        ({"ran": 30.0, "left": 30.0}, "running", 0.5),
        ({"ran": 90.0, "estimate": 10.0}, "running", 0.97),
        ({"ran": 30.0}, "running", None),
        ({"ran": 30.0, "pre_fail": True}, "doomed", None),
        ({"ran": 30.0, "paused": True}, "paused", None),
        ({"ran": 30.0, "result": "SUCCESS"}, "success", 1.0),
        ({"ran": 30.0, "result": "TIMED_OUT"}, "failure", 1.0),
        ({"result": "SKIPPED"}, "skipped", 1.0),
        ({}, "waiting", None),
    ],
)
def test_a_job_has_a_state_and_a_share_done(said, state, done):
    shown = job_view(job("unit", NOW, **said), NOW)
    assert (shown.state, shown.done) == (state, done)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("dependencies: a, b", "after a, b"),
        ("nodeset request: 12", "waits for servers"),
        ("executor", "waits for an executor"),
        ("semaphores: lab", "waits for lab"),
        (None, None),
    ],
)
def test_waiting_is_said_in_words(status, words):
    assert job_view(job("unit", NOW, waiting_status=status), NOW).waiting_for == words


def test_refs_are_called_what_people_call_them():
    assert ref_label({"id": "12,3", "ref": "refs/changes/12/12/3"}) == "12,3"
    assert ref_label({"id": "abcdef" * 6, "ref": "refs/heads/stable/1"}) == "stable/1"
    assert ref_label({"id": None, "ref": "refs/tags/v1"}) == "v1"
    assert ref_label({"id": "abcdef" * 6, "ref": None}) == "abcdefabcd"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min"), (80, "1 min 20 s"), (700, "11 min"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_durations_are_as_exact_as_is_useful(seconds, text):
    assert wording.duration(seconds) == text


def test_places_are_drawn_where_they_are_and_labels_do_not_cover_each_other():
    drawn = geography.draw(
        [("london", 51.5, -0.1), ("paris", 48.9, 2.4), ("ashburn", 39.0, -77.5), ("sydney", -33.9, 151.2)]
    )
    assert [panel.name for panel in drawn] == ["Europe", "North America", "World"]
    marks = {mark.key: mark for mark in drawn[0].marks}
    assert marks["paris"].x > marks["london"].x
    assert marks["paris"].y > marks["london"].y
    near = geography.draw([(f"zone {n}", 51.5, -0.1) for n in range(4)])[0].marks
    assert len({(mark.label_x, mark.label_y) for mark in near}) == 4
    assert min(abs(a.label_y - b.label_y) for a in near for b in near if a is not b) >= 6
