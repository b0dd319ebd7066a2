"""The channel kinds there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from meshmetrics.alerts.channels.contract import ChannelKind
from meshmetrics.alerts.channels.email.kind import Email
from meshmetrics.alerts.channels.email.smtp import Smtp
from meshmetrics.alerts.channels.slack.kind import Slack
from meshmetrics.alerts.channels.webhook.kind import Webhook
from meshmetrics.alerts.outbound import Guard

KindName = Literal["webhook", "slack", "email"]
"""The OpenAPI document and the dashboard's types follow from this. The database has the same list
in a constraint of `workflow_alert_channels`."""
ChannelKinds = Mapping[str, ChannelKind]


def channel_kinds(guard: Guard, smtp: Smtp | None) -> ChannelKinds:
    """Every kind. `guard` is the only way to an address that a tenant chose; `smtp` is the
    operator's mail server."""
    return {"webhook": Webhook(guard), "slack": Slack(guard), "email": Email(smtp)}
