"""How much one browser may cost and how long it may take, in one place.

Tests shorten the times; an installation has no reason to change any of them, so they are no settings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    authenticate_seconds: float = 5.0  # from the handshake to the first `authenticate`
    ping_after_seconds: float = 45.0  # silence after which we ask; the browser itself pings every 30 s
    lost_after_seconds: float = 75.0  # silence after which the peer is taken for dead
    stalled_seconds: float = 10.0  # a full socket that takes no byte for so long is given up
    close_seconds: float = 2.0  # for the peer to answer a close frame
    sweep_seconds: float = 1.0  # how often the times above are looked at (3 ms for 20,000 connections)
    overslept_seconds: float = 5.0  # between two sweeps: then silence says nothing about the peers
    resume_within_seconds: float = 30.0  # from `connected` to `resume`; later means `reset`

    buffer_bytes: int = 256 * 1024  # frames waiting for one slow socket
    replay_bytes: int = 1024 * 1024  # of replayed frames for one connection; more means `reset`
    replayed: int = 500  # most notifications a resume sends; more means `reset`
    message_bytes: int = 16 * 1024  # longest message of a browser
    read_bytes: int = 16 * 1024  # read at most this per wake-up, so that nobody starves the others
    held_frames: int = 1000  # live frames that may wait for a replay to finish

    # A bucket of tokens: a frame costs one, one that is refused six; full it holds 60, and 10 come
    # back each second. So 60 at once pass and 10 a second for ever, or 10 bad ones in a burst.
    # A browser sends a ping each 30 s and gathers what was seen: it needs 2 % of this.
    tokens: int = 60
    tokens_per_second: int = 10
    refused_costs: int = 6

    tail_seconds: float = 5.0  # how often the batches are read that Redis may have lost
    tail_pause_seconds: float = 0.2  # least time between two readings, however often it is rung
    state_seconds: float = 0.2  # unread counts are computed at most this often
    record_seconds: float = 1.0  # who came, left and confirmed is gathered for so long and written together
    alive_seconds: float = 10.0  # how often a gateway says that it lives
    welcome_seconds: float = 0.005  # new connections are gathered for so long and served together
    remembered_events: int = 50_000  # whose batches are known to be sent: 5 MB at most
    silent_redis_seconds: float = 5.0  # without any message we ping Redis, and wait as long again
