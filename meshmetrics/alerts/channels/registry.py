"""The channel kinds there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from meshmetrics.alerts.channels.contract import ChannelKind
from meshmetrics.alerts.channels.discord import kind as discord
from meshmetrics.alerts.channels.email.kind import Email, Mailer
from meshmetrics.alerts.channels.incoming_webhook import IncomingWebhook
from meshmetrics.alerts.channels.ntfy.kind import Ntfy
from meshmetrics.alerts.channels.pagerduty.kind import PagerDuty
from meshmetrics.alerts.channels.slack import kind as slack
from meshmetrics.alerts.channels.teams import kind as teams
from meshmetrics.alerts.channels.telegram.kind import Telegram
from meshmetrics.alerts.channels.webhook.kind import Webhook
from meshmetrics.alerts.outbound import Guard

KindName = Literal["webhook", "slack", "email", "pagerduty", "teams", "discord", "telegram", "ntfy"]
"""The OpenAPI document and the dashboard's types follow from this. The database has the same list
in a constraint of `workflow_alert_channels`."""
ChannelKinds = Mapping[str, ChannelKind]


def channel_kinds(guard: Guard, mailer: Mailer | None) -> ChannelKinds:
    """Every kind. `guard` is the only way to an address that a tenant chose; `mailer` has the
    operator's mail server."""
    return {
        "webhook": Webhook(guard),
        "slack": IncomingWebhook(guard, slack.body),
        "email": Email(mailer),
        "pagerduty": PagerDuty(guard),
        "teams": IncomingWebhook(guard, teams.body),
        "discord": IncomingWebhook(guard, discord.body),
        "telegram": Telegram(guard),
        "ntfy": Ntfy(guard),
    }
