"""The pool: which servers to make, hand out and delete, in which of many clouds.

What may live here: pure functions of the world (requests, nodes, providers, regions as last seen) and the time. What
may not: clouds, tables, clocks, randomness; the launcher carries the plan out and reports what happened.

Nouns: a *request* (the nodes of one nodeset, all wanted from one provider), a *node* (one server, single use), a
*provider* (where nodes can be made, with labels and limits), a *region* (one account in one cloud region, with its
health, quota and what it offers), an *action* (one line of a plan).

    requests × nodes × providers × regions ── plan ──▶ accept, create, assign, fulfil, decline, fail, release, delete

`plan` goes through named passes: retire → serve → trim → keep ready. It is level-triggered: carried out and asked
again with nothing else changed, it says nothing.
"""

from trunkline.pool.actions import (
    Accept,
    Action,
    Assign,
    Create,
    DeclineBy,
    Delete,
    Fail,
    Fulfil,
    Recycle,
    Release,
    Unaccept,
    WriteOff,
    apply,
)
from trunkline.pool.explain import explain
from trunkline.pool.health import Outcome, observe
from trunkline.pool.model import (
    Constraints,
    Decline,
    FlavorSpec,
    ImageSpec,
    LabelSpec,
    Node,
    NodeState,
    Offer,
    ProviderHealth,
    ProviderSpec,
    Quota,
    RegionFacts,
    RegionKey,
    RegionStatus,
    Request,
    RequestState,
    Resources,
    StaticNode,
    Trouble,
    Vendor,
    World,
)
from trunkline.pool.plan import Policy, plan
from trunkline.pool.providers import ProviderProblem, provider_specs
from trunkline.pool.step import step

__all__ = [
    "Accept",
    "Action",
    "Assign",
    "Constraints",
    "Create",
    "Decline",
    "DeclineBy",
    "Delete",
    "Fail",
    "FlavorSpec",
    "Fulfil",
    "ImageSpec",
    "LabelSpec",
    "Node",
    "NodeState",
    "Offer",
    "Outcome",
    "Policy",
    "ProviderHealth",
    "ProviderProblem",
    "ProviderSpec",
    "Quota",
    "Recycle",
    "RegionFacts",
    "RegionKey",
    "RegionStatus",
    "Release",
    "Request",
    "RequestState",
    "Resources",
    "StaticNode",
    "Trouble",
    "Unaccept",
    "Vendor",
    "World",
    "WriteOff",
    "apply",
    "explain",
    "observe",
    "plan",
    "provider_specs",
    "step",
]
