"""What every connection of one server has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshmetrics.devstack.realtime.authorize import Authorizer
from meshmetrics.devstack.realtime.database import Database
from meshmetrics.devstack.realtime.faults import Faults
from meshmetrics.devstack.realtime.feed import Feed
from meshmetrics.devstack.realtime.hub import Hub
from meshmetrics.devstack.realtime.limits import Limits, RateCounter, Timing
from meshmetrics.devstack.realtime.presence import Presence
from meshmetrics.devstack.realtime.tokens import mint


@dataclass(frozen=True, slots=True)
class Shared:
    jwt_secret: str
    limits: Limits
    timing: Timing
    faults: Faults
    database: Database
    authorizer: Authorizer
    hub: Hub
    presence: Presence
    feed: Feed
    joins: RateCounter
    users: set[object]
    """The connections with a joined channel."""
    api_keys: Mapping[str, str]
    """Keys that are no JWTs (`sb_secret_…`), and the role that each stands for."""

    def exchange(self, key: str) -> str:
        """What the gateway before Realtime makes of an `apikey`: a token of the key's role."""
        role = self.api_keys.get(key)
        return key if role is None else mint(self.jwt_secret, role)
