"""The types of which messages consist: the fixed sets of words, and the base of every message.

Instants are Unix seconds (float, UTC), durations are seconds (float). A `due` of the schedule is a whole second, and
the `due` of a manual run never is, so the two cannot claim the same slot. On a channel a message is JSON with its class
name in `type`. Decoding checks every field, and each end of a channel accepts only its own messages, so a child cannot
harm its reader by what it sends.
"""

from typing import Annotated, Literal, get_args

import msgspec

Outcome = Literal[
    "success",
    "unauthorized",
    "http_error",
    "connection_error",
    "timeout",
    "invalid_response",
    "lost",
    "cancelled",
]
ErrorKind = Literal["dns", "refused", "unreachable", "tls", "reset", "connect_timeout", "other"]
StatusClass = Literal["2xx", "3xx", "401", "403", "4xx", "5xx"]
NotRunReason = Literal["overlap", "paused", "missed"]
ReportedError = Literal["missing", "not_a_number"]
StoreKind = Literal["sqlite", "postgresql"]

ExitReason = Literal["clean", "error", "signal", "deadline"]
Trigger = Literal["schedule", "manual", "catch-up"]
Verb = Literal["fire", "pause", "resume", "reload"]
Way = Literal["command", "page", "api", "signal", "daemon"]  # how an action was asked for
Keep = Literal["failures", "all", "none"]  # the runs whose reply is kept
JobState = Literal["disabled", "elsewhere", "starting", "sleeping", "running", "backing off", "stopped"]

Instant = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]  # up to the year 9999, which is datetime's limit
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # a float holds larger ones only roughly
Name = Annotated[str, msgspec.Meta(max_length=100)]  # of a person, a token or an address
Why = Annotated[str, msgspec.Meta(max_length=200)]  # the reason for an action: one line

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
STATUS_CLASSES: tuple[StatusClass, ...] = get_args(StatusClass)
NOT_RUN_REASONS: tuple[NotRunReason, ...] = get_args(NotRunReason)
REPORTED_ERRORS: tuple[ReportedError, ...] = get_args(ReportedError)
STORE_KINDS: tuple[StoreKind, ...] = get_args(StoreKind)
EXIT_REASONS: tuple[ExitReason, ...] = get_args(ExitReason)

ATTEMPTS_TOLD = 10  # in a message, the last ones of a run
ATTEMPT_LENGTH = 200  # characters of an attempt's detail
HEAD_LENGTH = 768  # bytes that are kept of the head of a request, and of that of a reply
EARLIER_LENGTH = 256  # bytes of a reply that are kept of an attempt before the last: ten must fit into a message
REPLY_LENGTH = 4096  # bytes of a reply that are kept: enough for a person, and a message must fit into 64 KiB
DETAIL_LENGTH = 500  # characters of a detail that are kept: a line for a person, and a message must fit into 64 KiB


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="type", forbid_unknown_fields=True):
    """The base of all messages: immutable, compared by value, tagged with their class name."""
