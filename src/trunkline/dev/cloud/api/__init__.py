"""The OpenStack services as their clients see them: one module a service or a part of one.

`routing` has the table of operations and what a handler gets (`Call`) and gives (`Answer`, or raises `Refusal`); `door`
is the way in: version negotiation, tokens, faults, latency, counting. Handlers change the region's objects (`world`) and
answer as the recordings do.
"""
