"""Builds the services of alerts from the settings."""

from __future__ import annotations

import ipaddress

from meshmetrics.alerts.channels.email.consent import Consent, Limits
from meshmetrics.alerts.channels.email.kind import Mailer
from meshmetrics.alerts.channels.email.links import Links
from meshmetrics.alerts.channels.email.smtp import Smtp
from meshmetrics.alerts.channels.registry import ChannelKinds, channel_kinds
from meshmetrics.alerts.evaluator import Announce, Evaluator
from meshmetrics.alerts.notifier import Notifier
from meshmetrics.alerts.outbound import Guard, Rules
from meshmetrics.alerts.sealing import Seal
from meshmetrics.alerts.store import AlertStore
from meshmetrics.database.store import Database
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


def make_kinds(settings: Settings, database: Database) -> ChannelKinds:
    """The channel kinds as the settings allow them to send."""
    url, links, mailer = settings.smtp_url, make_links(settings), None
    if url and links:
        smtp = Smtp(url.get_secret_value(), settings.smtp_from)
        mailer = Mailer(smtp, links, make_consent(settings, database))
    return channel_kinds(make_guard(settings), mailer)


def make_links(settings: Settings) -> Links | None:
    """What signs the links in mails; None where no key is set."""
    keys, url = settings.alert_keys, settings.public_url or settings.dashboard_url
    return Links(keys.get_secret_value(), url) if keys else None


def make_consent(settings: Settings, database: Database) -> Consent:
    """Who wants mail, within the limits of the settings."""
    s = settings
    limits = Limits(s.mails_per_hour_recipient, s.mails_per_hour_project, s.mails_per_hour)
    return Consent(database, limits)


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
            make_kinds(s, store.database),
            telemetry,
            dashboard_url=s.dashboard_url,
            group_wait=s.alert_group_wait,
            per_hour=s.alert_messages_per_hour,
        )
    notified = notifier.wake if notifier else lambda: None
    evaluator = Evaluator(store, announce, notified, telemetry, interval=s.alert_interval)
    return evaluator, notifier
