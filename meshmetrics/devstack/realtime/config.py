"""What a client asks for when it joins: the `config` of phx_join."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshmetrics.devstack.realtime.subscriptions import Entry, described


class ConfigError(ValueError):
    """The config has parts of the wrong kind."""


@dataclass(frozen=True, slots=True)
class JoinConfig:
    private: bool = False
    acknowledge: bool = False
    """Broadcasts of this client are answered."""
    to_self: bool = False
    """Broadcasts of this client come back to it."""
    replay: bool = False
    replication_ready: bool = False
    presence: bool = False
    presence_key: str = ""
    entries: list[Entry] = field(default_factory=list)
    """Of postgres_changes, as the client wrote them."""

    def described(self) -> list[Entry]:
        """The entries as the join's reply repeats them."""
        return [described(entry) for entry in self.entries]


def read_config(payload: Any, name: str) -> JoinConfig:
    """The config in a join's payload, for the topic `name`. Raises ConfigError.

    A join without any config asks for the changes of a schema named like the topic, a leftover of
    the first protocol that the real server still has.
    """
    if not isinstance(payload, dict):
        raise ConfigError("the payload of a join is an object")
    if "config" not in payload:
        return JoinConfig(entries=[{"schema": name}])
    config = _object(payload, "config")
    broadcast, presence = _object(config, "broadcast"), _object(config, "presence")
    entries = config.get("postgres_changes") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError("postgres_changes is a list of objects")
    return JoinConfig(
        private=config.get("private") is True,
        acknowledge=broadcast.get("ack") is True,
        to_self=broadcast.get("self") is True,
        replay=broadcast.get("replay") is not None,
        replication_ready=broadcast.get("replication_ready") is True,
        presence=presence.get("enabled") is True,
        presence_key=str(presence.get("key") or ""),
        entries=entries,
    )


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{key} is an object")
    return value
