"""What a job requires: from items ahead in a queue that speculates, else asked for."""

from tests.gate.play import Play, builds, change, check, enqueued, gate, job, passed, records, reports
from trunkline.gate.effects import FindProvided
from trunkline.gate.events import ProvidedFound
from trunkline.gate.model import Artifact, ArtifactFrom, BuildId, RefKey

A, B = (change(name) for name in "AB")
IMAGE = ArtifactFrom(Artifact("image", "http://store/1"), "build", RefKey("A"), BuildId("b1"))


def asking() -> tuple[Play, FindProvided]:
    play = Play(check(), job("deploy", requires=("image",))) >> enqueued(A, live=False) >> enqueued(B)
    play << builds()
    asked = play.take(FindProvided)
    assert [(e.requires, [c.key for c in e.changes]) for e in asked] == [(("image",), ["A"])]
    return play, asked[0]


def test_a_job_waits_until_it_is_known_what_its_dependencies_provide():
    play, asked = asking()
    play >> ProvidedFound(asked.item, asked.future, asked.job, (IMAGE,)) << builds("deploy: A B")
    assert play.find("deploy", "B").artifacts == (IMAGE,)
    play >> passed("B", "deploy") << reports("success: B")


def test_what_cannot_be_provided_fails_the_job():
    play, asked = asking()
    play >> ProvidedFound(asked.item, asked.future, asked.job, problem="Requirements image not met by build b1")
    play << builds() << records("deploy FAILURE") << reports("failure: B")


def test_an_answer_that_nobody_waits_for_changes_nothing():
    play, asked = asking()
    play >> ProvidedFound(asked.item, asked.future, asked.job) << builds("deploy: A B")
    play >> ProvidedFound(asked.item, asked.future, asked.job, problem="late") << builds("deploy: A B")


def test_nothing_is_asked_without_dependencies_elsewhere():
    play = Play(check(), job("deploy", requires=("image",))) >> enqueued(A) << builds("deploy: A")
    assert play.take(FindProvided) == []
    play = Play(gate(), job("deploy", requires=("image",))) >> enqueued(A) << builds("deploy: A")
    assert play.take(FindProvided) == []
