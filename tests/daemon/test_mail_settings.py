"""What the settings make of e-mail."""

from __future__ import annotations

from typing import Any, cast

import pytest
from cryptography.fernet import Fernet

from meshmetrics.daemon.alerting import make_consent, make_kinds, make_links
from tests.alerts.test_golden import message
from tests.daemon.conftest import TestSettings

BASE = {
    "supabase_url": "http://project.test",
    "supabase_secret_key": "sb_secret_a",
    "database_url": "postgresql://u@h/d",
    "alert_keys": Fernet.generate_key().decode(),
    "smtp_url": "smtps://u:p@mail.test:465",
}
DATABASE = cast("Any", None)  # nothing is asked of it


def settings(**more: Any) -> TestSettings:
    return TestSettings.model_validate(BASE | more)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"dashboard_url": "https://dash.test"}, "https://dash.test"),
        (
            {"dashboard_url": "https://dash.test", "public_url": "https://api.test/"},
            "https://api.test",
        ),
    ],
)
def test_links_lead_to_the_public_address_or_else_to_the_dashboards(
    more: dict[str, str], expected: str | None
) -> None:
    links = make_links(settings(**more))
    assert links is not None
    assert links.base_url == expected


async def test_without_an_address_for_links_no_mail_is_sent_and_the_delivery_says_why() -> None:
    outcome = await make_kinds(settings(), DATABASE)["email"].send(message("opened"))
    assert (outcome.result, outcome.error) == (
        "failed",
        "mail needs an address for its links: MESHMETRICS_PUBLIC_URL",
    )


async def test_the_limits_are_those_of_the_settings() -> None:
    asked: list[tuple[object, ...]] = []

    class Recorder:
        async def row(self, _: str, *values: object) -> dict[str, object]:
            asked.append(values)
            return {"verdict": "send", "wait": None}

    limits = {
        "mails_per_hour": 3,
        "mails_per_hour_project": 2,
        "mails_per_hour_recipient": 1,
    }
    consent = make_consent(settings(**limits), cast("Any", Recorder()))
    await consent.admit(message("test").project_id, [b"x"], confirmation=False)
    assert asked[0][3:] == (1, 2, 3)
