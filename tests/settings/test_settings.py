"""Settings: read from the environment, and refused in words an operator can use."""

from __future__ import annotations

import os
from pathlib import Path

import jwt
import pytest

from meshmetrics.settings.fields import DatabaseSettings, Settings
from meshmetrics.settings.load import (
    SettingsError,
    load_settings,
    settings_table,
    unknown_settings,
)

GOOD = {
    "SUPABASE_URL": "https://abcdefgh.supabase.co/",
    "SUPABASE_SECRET_KEY": "sb_secret_0123456789",
    "DATABASE_URL": "postgresql://postgres:s3cretpassword@db.example.org:5432/postgres",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A good environment, an empty directory, and nothing else of ours."""
    for name in list(os.environ):
        if name.startswith(("MESHMETRICS_", "SUPABASE_", "DATABASE_URL")) or name == "PORT":
            monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def complaint(**changes: str) -> str:
    """What is said about these values; "" if nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setenv(name, value)
        try:
            load_settings(Settings)
        except SettingsError as error:
            return str(error)
        return ""


def test_the_environment_is_enough(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings(Settings)
    assert settings.supabase_url == "https://abcdefgh.supabase.co"
    assert settings.http_host == "127.0.0.1"
    assert settings.broadcasts_per_second == 50


def test_the_environment_wins_over_the_env_file(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MESHMETRICS_HTTP_PORT=1111\nMESHMETRICS_POOL_SIZE=5\nOTHER=1\n")
    environment.setenv("MESHMETRICS_HTTP_PORT", "2222")
    settings = load_settings(Settings)
    assert (settings.http_port, settings.pool_size) == (2222, 5)


def test_an_empty_variable_is_as_good_as_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MESHMETRICS_HTTP_PORT", "")
    assert load_settings(Settings).http_port == 8787


def test_every_missing_setting_is_named_in_one_message(environment: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        environment.delenv(name)
    lines = complaint().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(GOOD)
    assert all("is missing: it takes" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MESHMETRICS_HTTP_PORT", "99999", "'99999': it takes a whole number from 0 to 65,535"),
        ("MESHMETRICS_SWEEP_MIN", "soon", "'soon': it takes seconds, from 0.05 to 60"),
        ("MESHMETRICS_POOLER", "pgcat", "it takes auto or none or session or transaction"),
        ("MESHMETRICS_MIGRATE", "perhaps", "'perhaps': it takes true or false"),
        ("SUPABASE_URL", "abcdefgh.supabase.co", "an http:// or https:// URL"),
        ("SUPABASE_URL", "https://abc.supabase.co?x=1", "an http:// or https:// URL"),
        ("DATABASE_URL", "mysql://a:hidden1@h/d", "does not start with postgresql://"),
        ("DATABASE_URL", "postgresql://a:hidden1@h:port/d", "not a valid URL"),
        ("SUPABASE_SECRET_KEY", "sb_publishable_hidden1", "is a public key"),
        ("SUPABASE_SECRET_KEY", "hidden1 hidden1", "characters that no key has"),
        ("SUPABASE_SECRET_KEY", "sb_secret_a,sb_publishable_hidden1", "is a public key"),
        ("SUPABASE_SECRET_KEY", "sb_secret_hidden1,", "has an empty key in its list"),
        ("PORT", "99999", "'99999': it takes a whole number from 0 to 65,535"),
        ("SUPABASE_JWT_SECRET", "hidden1", "too short"),
        ("MESHMETRICS_METRICS_TOKEN", "hidden1", "too short"),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_secret_hidden1", "is a secret key, but every browser"),
        ("SUPABASE_PUBLISHABLE_KEY", "hidden1 hidden1", "has characters that no key has"),
        ("SUPABASE_ANON_KEY", "sb_secret_hidden1", "is a secret key, but every browser"),
        ("MESHMETRICS_RUNS_URL", "javascript:alert(1)//{slug}", "an http:// or https:// URL"),
        ("MESHMETRICS_RUNS_URL", "runs/{slug}", "is neither an http:// or https:// URL nor a path"),
        ("MESHMETRICS_RUNS_URL", "//elsewhere.org/{slug}", "an http:// or https:// URL"),
        ("MESHMETRICS_RUNS_URL", "/\\elsewhere.org/{slug}", "an http:// or https:// URL"),
        ("MESHMETRICS_RUNS_URL", "/runs of/{slug}", "an http:// or https:// URL"),
        ("MESHMETRICS_RUNS_URL", "/runs", "has neither {workflow_id} nor {slug}"),
        ("MESHMETRICS_RUNS_URL", "/runs?state={status}", "has neither {workflow_id} nor {slug}"),
        ("MESHMETRICS_RUNS_URL", "/runs/{slug}/{run}", "has an unknown {name}"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_takes_and_no_secret_is_repeated(
    environment: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    message = complaint(**{name: value})
    assert message.startswith(name)
    assert said in message
    assert len(message.splitlines()) == 1
    assert "hidden1" not in message


def test_the_anon_key_is_told_from_the_service_key(environment: pytest.MonkeyPatch) -> None:
    secret = "a-secret-of-at-least-thirty-two-characters"
    for role, wrong in (("anon", True), ("authenticated", True), ("service_role", False)):
        key = jwt.encode({"role": role}, secret)
        assert ("public key" in complaint(SUPABASE_SECRET_KEY=key)) is wrong


def test_the_public_key_is_no_key_that_may_do_more(environment: pytest.MonkeyPatch) -> None:
    secret = "a-secret-of-at-least-thirty-two-characters"
    for role, wrong in (("anon", False), ("authenticated", True), ("service_role", True)):
        message = complaint(SUPABASE_PUBLISHABLE_KEY=jwt.encode({"role": role}, secret))
        assert ("SUPABASE_PUBLISHABLE_KEY is a secret key" in message) is wrong
    assert complaint(SUPABASE_PUBLISHABLE_KEY="sb_publishable_0123456789") == ""


@pytest.mark.parametrize(
    "template",
    [
        "https://app.example.com/runs?workflow={workflow_id}&status={status}",
        "http://localhost:5173/{project_id}/{slug}",
        "/runs?workflow={workflow_id}",
    ],
)
def test_links_to_runs_lead_to_an_address_or_a_path(
    environment: pytest.MonkeyPatch, template: str
) -> None:
    environment.setenv("MESHMETRICS_RUNS_URL", template)
    assert load_settings(Settings).runs_url == template


def test_the_older_names_of_the_keys_still_work_and_the_newer_ones_win(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("SUPABASE_SECRET_KEY")
    environment.setenv("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_older")
    environment.setenv("SUPABASE_ANON_KEY", "sb_publishable_older")
    older = load_settings(Settings)
    assert older.secret_keys == ("sb_secret_older",)
    assert older.supabase_publishable_key == "sb_publishable_older"
    environment.setenv("SUPABASE_SECRET_KEY", "sb_secret_newer")
    environment.setenv("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_newer")
    newer = load_settings(Settings)
    assert newer.secret_keys == ("sb_secret_newer",)
    assert newer.supabase_publishable_key == "sb_publishable_newer"


def test_a_wrong_key_is_named_as_it_was_set(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SUPABASE_SECRET_KEY")
    message = complaint(SUPABASE_SERVICE_ROLE_KEY="sb_publishable_0123456789")
    assert message.startswith("SUPABASE_SERVICE_ROLE_KEY is a public key")


def test_several_secret_keys_are_kept_in_order_and_each_is_a_secret(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("SUPABASE_SECRET_KEY", "sb_secret_new, sb_secret_old")
    settings = load_settings(Settings)
    assert settings.secret_keys == ("sb_secret_new", "sb_secret_old")
    assert {"sb_secret_new", "sb_secret_old"} < set(settings.secrets())


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ("127.0.0.1", 8787)),
        ({"PORT": "3000"}, ("0.0.0.0", 3000)),
        ({"PORT": "3000", "MESHMETRICS_HTTP_HOST": "::"}, ("::", 3000)),
        ({"PORT": "3000", "MESHMETRICS_HTTP_PORT": "4000"}, ("127.0.0.1", 4000)),
        ({"PORT": "3000", "MESHMETRICS_HTTP_PORT": ""}, ("0.0.0.0", 3000)),
        ({"PORT": ""}, ("127.0.0.1", 8787)),
    ],
    ids=str,
)
def test_the_port_of_the_host_is_taken_where_no_port_of_ours_is_set(
    environment: pytest.MonkeyPatch, variables: dict[str, str], address: tuple[str, int]
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert load_settings(Settings).address == address


def test_all_wrong_settings_are_told_at_once(environment: pytest.MonkeyPatch) -> None:
    message = complaint(MESHMETRICS_HTTP_PORT="x", MESHMETRICS_POOL_SIZE="0", DATABASE_URL="x")
    assert len(message.splitlines()) == 3


def test_secrets_do_not_show_in_a_representation(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings(Settings)
    assert "s3cretpassword" not in repr(settings)
    assert "sb_secret_0123456789" not in repr(settings)
    assert {"s3cretpassword", "sb_secret_0123456789"} < set(settings.secrets())


def test_migrating_needs_the_database_only(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SUPABASE_URL")
    environment.delenv("SUPABASE_SECRET_KEY")
    assert load_settings(DatabaseSettings).database_url.get_secret_value() == GOOD["DATABASE_URL"]


@pytest.mark.parametrize(
    ("pooler", "port", "transaction"),
    [
        ("auto", 5432, False),
        ("auto", 6543, True),
        ("none", 6543, False),
        ("session", 6543, False),
        ("transaction", 5432, True),
    ],
)
def test_the_transaction_pooler_is_known_by_its_port_or_by_the_setting(
    environment: pytest.MonkeyPatch, pooler: str, port: int, transaction: bool
) -> None:
    environment.setenv("DATABASE_URL", f"postgresql://u:p@h:{port}/d")
    environment.setenv("MESHMETRICS_POOLER", pooler)
    assert load_settings(Settings).transaction_pooler is transaction


def test_an_unknown_variable_is_told_with_the_nearest_known_one(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("MESHMETRICS_HTTP_PROT", "1")
    environment.setenv("MESHMETRICS_TEST_DATABASE_URL", "the test suite's")
    environment.setenv("MESHMETRICS_HTTP_HOST", "127.0.0.1")
    (tmp_path / ".env").write_text("MESHMETRICS_ZZZ=1\n")
    assert unknown_settings() == [
        "MESHMETRICS_HTTP_PROT is unknown; did you mean MESHMETRICS_HTTP_PORT?",
        "MESHMETRICS_ZZZ is unknown",
    ]


def test_the_table_has_a_row_for_every_setting() -> None:
    rows = settings_table().splitlines()[2:]
    assert len(rows) == len(Settings.model_fields)
    assert "| `DATABASE_URL` | **required** | a secret |" in settings_table()
    assert all(row.count("|") == 5 and not row.endswith("| None |") for row in rows)
