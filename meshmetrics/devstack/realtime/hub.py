"""Who is in which topic, and broadcasts. Public and private topics of one name are apart."""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

from meshmetrics.devstack.realtime.frames import Broadcast, Version, encode, encode_broadcast
from meshmetrics.devstack.realtime.limits import Limits, RateCounter


class Member(Protocol):
    """A joined channel."""

    topic: str
    private: bool

    @property
    def version(self) -> Version: ...

    def receive(self, frame: str | bytes) -> None:
        """Take a frame that is ready to go out."""

    def throw_out(self, message: str) -> None:
        """Be closed, for this reason."""


class Hub:
    """All topics. `rate` counts what is sent and what is received."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.rate = RateCounter(limits.events_per_second, limits.average_over)
        self._members: defaultdict[tuple[str, bool], dict[Member, None]] = defaultdict(dict)

    def enter(self, member: Member) -> None:
        self._members[member.topic, member.private][member] = None

    def leave(self, member: Member) -> None:
        members = self._members.get((member.topic, member.private), {})
        members.pop(member, None)
        if not members:
            self._members.pop((member.topic, member.private), None)

    def members(self, topic: str, private: bool) -> list[Member]:
        """Who is in the topic (named with `realtime:`)."""
        return list(self._members.get((topic, private), ()))

    def broadcast(
        self, topic: str, private: bool, broadcast: Broadcast, *, but: Member | None = None
    ) -> None:
        """Give `broadcast` to all members but one.

        Above the rate it is the receivers that are thrown out, after the message.
        """
        self.rate.add()
        frames: dict[Version, str | bytes | None] = {}
        for member in self.members(topic, private):
            if member is but:
                continue
            if member.version not in frames:
                frames[member.version] = encode_broadcast(member.version, topic, broadcast)
            frame = frames[member.version]
            if frame is not None:
                member.receive(frame)
            self.rate.add()
            if self.rate.exceeded():
                member.throw_out("Too many messages per second")

    def send(self, topic: str, private: bool, event: str, payload: str) -> None:
        """Give all members the server's own `event`; `payload` is JSON text."""
        for member in self.members(topic, private):
            member.receive(encode(member.version, topic, event, payload, None, None))
