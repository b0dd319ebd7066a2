"""The kinds that send JSON to a URL which the receiver made, such as Slack's incoming webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshmetrics.alerts.channels.contract import Message, Outcome, Target
from meshmetrics.alerts.channels.http import post, url_target
from meshmetrics.alerts.notice import Delivered
from meshmetrics.alerts.outbound import Guard


class IncomingWebhook:
    """One POST per message. The URL is the channel's only secret."""

    def __init__(self, guard: Guard, body: Callable[[Sequence[Delivered]], bytes]) -> None:
        """`body` writes notices, one or more, as the receiver takes them."""
        self._guard = guard
        self._body = body

    def prepare(self, target: str) -> Target:
        """The webhook's URL."""
        return url_target(self._guard, target)

    def new_secret(self) -> None:
        """None: the receiver checks no signature."""

    async def send(self, message: Message) -> Outcome:
        """Send it."""
        return await post(self._guard, message.target, self._body(message.notices), {})
