"""The gate: what is tested on what, in which order, and what lands.

Nouns: a *queue* holds *items* in order; an item is one change, or the changes of a dependency cycle that enter, run and
leave as one; an item is tested on its *future* (everything ahead of it landed, then itself); *runs* are its jobs.

What happens comes in as an event (`events`), what the world shall do goes out as an effect (`effects`), between them
is one pure function, `step(queue, event, now)`. `admit` says beforehand which changes enter which queue; `explain` and
`status` read a queue for people and dashboards.

May live here: decisions on values. May not: I/O, clocks, randomness, YAML, review systems, clouds. A wait is a value
in the queue, never a suspended frame, so that a queue can be stored after every step and taken up anywhere.
"""

from trunkline.gate.admission import Admission, Candidate, PipelineRules, Presence, admit
from trunkline.gate.model import Change, Item, Queue, QueueSettings
from trunkline.gate.step import step

__all__ = [
    "Admission",
    "Candidate",
    "Change",
    "Item",
    "PipelineRules",
    "Presence",
    "Queue",
    "QueueSettings",
    "admit",
    "step",
]
