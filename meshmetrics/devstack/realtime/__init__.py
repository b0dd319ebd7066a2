"""A development Realtime server: Supabase's wire protocol in front of a local Postgres.

It is a development tool for the demo and the tests, listens on loopback only, and is no place for
anybody's data: production runs against the real Supabase. It behaves as the real one was measured
to, its limits and losses included, for what meshmetrics and the official clients use of it:
websocket protocol 1.0.0 and 2.0.0, postgres_changes by logical decoding with filters, `select` and
row-level security, broadcasts over websocket, HTTP and `realtime.send`, private channels decided by
policies, presence. Faults makes it misbehave.
"""

from meshmetrics.devstack.realtime.faults import Faults
from meshmetrics.devstack.realtime.limits import Limits, Timing
from meshmetrics.devstack.realtime.server import RealtimeServer
from meshmetrics.devstack.realtime.tokens import mint

__all__ = ["Faults", "Limits", "RealtimeServer", "Timing", "mint"]
