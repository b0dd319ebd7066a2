"""Builds the services of alerts from the settings."""

from __future__ import annotations

import ipaddress

from meshmetrics.alerts.channels.email.smtp import Smtp
from meshmetrics.alerts.channels.registry import ChannelKinds, channel_kinds
from meshmetrics.alerts.evaluator import Announce, Evaluator
from meshmetrics.alerts.notifier import Notifier
from meshmetrics.alerts.outbound import Guard, Rules
from meshmetrics.alerts.sealing import Seal
from meshmetrics.alerts.store import AlertStore
from meshmetrics.runtime.telemetry import Telemetry
from meshmetrics.settings.fields import Settings


def make_guard(settings: Settings) -> Guard:
    """The guard that the settings describe."""
    networks = settings.alert_networks
    return Guard(
        Rules(
            http=settings.alert_http,
            ports=frozenset(int(port) for port in settings.alert_ports.split(",")),
            networks=tuple(ipaddress.ip_network(n.strip()) for n in networks.split(","))
            if networks
            else (),
        )
    )


def make_kinds(settings: Settings) -> ChannelKinds:
    """The channel kinds as the settings allow them to send."""
    url = settings.smtp_url
    smtp = Smtp(url.get_secret_value(), settings.smtp_from) if url else None
    return channel_kinds(make_guard(settings), smtp)


def make_seal(settings: Settings) -> Seal | None:
    """The seal of channels' secrets; None without a key."""
    keys = settings.alert_keys
    return Seal(keys.get_secret_value()) if keys else None


def alert_services(
    settings: Settings, store: AlertStore, announce: Announce, telemetry: Telemetry
) -> tuple[Evaluator, Notifier | None]:
    """The evaluator, and the notifier if there is a key to decrypt channels with."""
    s, seal = settings, make_seal(settings)
    notifier = None
    if seal is not None:
        notifier = Notifier(
            store,
            seal,
            make_kinds(s),
            telemetry,
            dashboard_url=s.dashboard_url,
            group_wait=s.alert_group_wait,
            per_hour=s.alert_messages_per_hour,
        )
    notified = notifier.wake if notifier else lambda: None
    evaluator = Evaluator(store, announce, notified, telemetry, interval=s.alert_interval)
    return evaluator, notifier
