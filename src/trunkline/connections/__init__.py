"""What changes come from and what results go to.

A *connection* is a configured driver: Gerrit (production), plain git repositories. It tells of *trigger events*,
answers what a *change* is and what it depends on, takes *reports* (votes, messages, comments on lines) and *lands*
changes. Here live the drivers, their wire formats and the pure rules by which a driver's triggers and requirements
match. No pipeline, queue or tenant is known here: callers hand in plain values and decide.

Events are delivered at least once, each with a `delivery` id that is the same however often and by whichever way
(stream or reconciliation) the driver learned of it.
"""

from trunkline.connections.filters import merge_problem, requirement_problem, trigger_matches
from trunkline.connections.footers import depends_on_urls
from trunkline.connections.model import (
    NO_REVISION,
    Account,
    Approval,
    ChangeInfo,
    ChangeNotFound,
    Connection,
    ConnectionFailed,
    Emit,
    FileComment,
    GitAccess,
    Keep,
    LandingRefused,
    Position,
    Report,
    ReportRefused,
    SubmitRequirement,
    TextRange,
    TriggerEvent,
    VoteChange,
)
from trunkline.connections.opening import open_connection

__all__ = [
    "NO_REVISION",
    "Account",
    "Approval",
    "ChangeInfo",
    "ChangeNotFound",
    "Connection",
    "ConnectionFailed",
    "Emit",
    "FileComment",
    "GitAccess",
    "Keep",
    "LandingRefused",
    "Position",
    "Report",
    "ReportRefused",
    "SubmitRequirement",
    "TextRange",
    "TriggerEvent",
    "VoteChange",
    "depends_on_urls",
    "merge_problem",
    "open_connection",
    "requirement_problem",
    "trigger_matches",
]
