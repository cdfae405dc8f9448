"""The pictures in the documentation are the tables in the code."""

from tests.gate.diagrams import DRAWINGS, PAGE, drawn
from trunkline.gate.model import FUTURE_MOVES, RUN_MOVES, FutureState, RunState


def test_the_page_shows_the_tables_as_they_are():
    page = PAGE.read_text()
    assert drawn(page) == page, "run: python -m tests.gate.diagrams"
    assert all(picture in page for picture in DRAWINGS.values())


def test_every_state_can_be_reached():
    assert {*FUTURE_MOVES.values(), FutureState.MERGING} == set(FutureState)
    assert {*RUN_MOVES.values()} == set(RunState)
