"""Presence: who is in a topic, sent as a state to those who join and as differences to all."""

from __future__ import annotations

import secrets
from collections import defaultdict
from typing import Any

from meshmetrics.devstack.realtime.frames import dumps
from meshmetrics.devstack.realtime.hub import Hub, Member

Meta = dict[str, Any]
_Tracked = dict[Member, tuple[str, Meta]]


class Presence:
    """The presences of all topics."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._topics: defaultdict[tuple[str, bool], _Tracked] = defaultdict(dict)

    def state(self, member: Member) -> str:
        """The payload of `presence_state` for `member`."""
        return dumps(_grouped(list(self._topics[member.topic, member.private].values())))

    def track(self, member: Member, key: str, payload: dict[str, Any]) -> None:
        """`member` is there as `key`, with `payload`; what it tracked before is replaced."""
        tracked = self._topics[member.topic, member.private]
        before = tracked.get(member)
        meta: Meta = {"phx_ref": secrets.token_urlsafe(12)}
        if before is not None:
            meta["phx_ref_prev"] = before[1]["phx_ref"]
        tracked[member] = (key, meta | payload)
        self._tell(member, joins=[tracked[member]], leaves=[before] if before else [])

    def untrack(self, member: Member) -> None:
        """`member` is not there any more, if it was."""
        tracked = self._topics.get((member.topic, member.private), {})
        before = tracked.pop(member, None)
        if before is not None:
            self._tell(member, joins=[], leaves=[before])
        if not tracked:
            self._topics.pop((member.topic, member.private), None)

    def _tell(
        self, member: Member, joins: list[tuple[str, Meta]], leaves: list[tuple[str, Meta]]
    ) -> None:
        payload = dumps({"joins": _grouped(joins), "leaves": _grouped(leaves)})
        self._hub.send(member.topic, member.private, "presence_diff", payload)


def _grouped(tracked: list[tuple[str, Meta]]) -> dict[str, dict[str, list[Meta]]]:
    groups: dict[str, dict[str, list[Meta]]] = {}
    for key, meta in tracked:
        groups.setdefault(key, {"metas": []})["metas"].append(meta)
    return groups
