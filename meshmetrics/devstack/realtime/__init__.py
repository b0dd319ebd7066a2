"""A development Realtime server: Supabase's wire protocol in front of a local Postgres.

It is a development tool for the demo and the tests, listens on loopback only, and must
not store real data: production uses the real Supabase. It reproduces the measured behaviour of the
real server, including its limits and losses, for what meshmetrics and the official clients use:
websocket protocol 1.0.0 and 2.0.0, postgres_changes by logical decoding with filters, `select` and
row-level security, broadcasts over websocket, HTTP and `realtime.send`, private channels with
policies, presence. `Faults` makes it fail on purpose.
"""

from meshmetrics.devstack.realtime.faults import Faults
from meshmetrics.devstack.realtime.limits import Limits, Timing
from meshmetrics.devstack.realtime.server import RealtimeServer
from meshmetrics.devstack.realtime.tokens import mint

__all__ = ["Faults", "Limits", "RealtimeServer", "Timing", "mint"]
