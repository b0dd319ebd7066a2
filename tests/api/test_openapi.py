"""The committed document, and the page made of it."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from meshmetrics.api.alerts.channels import AlertsApi
from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Authenticator
from meshmetrics.api.http.cursors import Cursors
from meshmetrics.api.http.dependencies import MetricsApi
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.api.server import Readiness, create_app
from meshmetrics.runtime.telemetry import Telemetry

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


async def _ready() -> Readiness:
    return Readiness(True)


@cache
def _text() -> str:
    reader = Reader(cast("Any", None), statement_timeout=1)
    api = MetricsApi(Authenticator(None, None), reader, Cursors("x"), CallerBudget(1, 1))
    alerts = AlertsApi(None, {})
    app = create_app(_ready, Telemetry(), metrics_api=api, alerts_api=alerts)
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False)


def openapi() -> dict[str, Any]:
    """The document, without a database."""
    document: dict[str, Any] = json.loads(_text())
    return document


@pytest.mark.generates
def test_the_committed_document_is_what_the_code_says() -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 writes it anew."""
    text = _text() + "\n"
    if os.environ.get("MESHMETRICS_TEST_WRITE_GOLDEN"):
        COMMITTED.write_text(text)
    assert COMMITTED.read_text() == text


def test_every_schema_is_referenced_and_every_reference_has_a_schema() -> None:
    document = openapi()
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert names == set(document["components"]["schemas"])
    assert "ProblemDocument" in names
    assert "HTTPValidationError" not in json.dumps(document)


def test_everything_below_api_wants_a_token_and_says_what_its_errors_are() -> None:
    for path, methods in openapi()["paths"].items():
        for operation in methods.values():
            assert bool(operation.get("security")) == path.startswith("/api/")
            if path.startswith("/api/"):
                assert {"401", "422", "429", "500", "503"} <= operation["responses"].keys()
                assert all(
                    p.get("description")
                    for p in operation.get("parameters", [])
                    if p["in"] == "query"
                )


async def test_the_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/docs")
    assert response.status_code == 200
    page = response.text
    assert re.findall(r"""(?:src|href)=["']?(?!#|openapi\.json)[^"'> ]+""", page) == []
    assert "<script" not in page
    assert "url(" not in page
    assert "default-src 'none'" in response.headers["content-security-policy"]
    document = (await client.get("/api/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page
    for parameter in document["paths"]["/api/metrics/workflows/summary"]["get"]["parameters"]:
        assert f"<code>{parameter['name']}</code>" in page
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors


async def test_the_page_says_what_is_to_be_sent(client: httpx.AsyncClient) -> None:
    page = (await client.get("/api/docs")).text
    sections = {
        f"{method} {path}": text
        for text in page.split("<section>")
        for method, path in re.findall(r"<h2[^>]*><code>(\w+) ([^<]+)</code>", text)
    }
    bodies = 0
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            section = sections[f"{method.upper()} {path}"]
            wanted = operation.get("requestBody", {}).get("content", {}).values()
            assert ("request body" in section) == bool(wanted)
            needed = operation.get("requestBody", {}).get("required", False)
            for name in re.findall(r"schemas/(\w+)'", str(list(wanted))):
                bodies += 1
                assert f'<a href="#schema-{name}">{name}</a>' in section
                assert ("<td>required" in section) == needed
    assert bodies >= 6
    (rule,) = (text for text in page.split("<section>") if 'id="schema-NewRule"' in text)
    assert "<code>project_id</code> (required)" in rule
    assert "<code>severity</code></td>" in rule


def test_no_two_schemas_share_a_name() -> None:
    """Where two do, their modules' names get into both, and into every client."""
    assert [name for name in openapi()["components"]["schemas"] if "__" in name] == []


def test_a_change_of_a_rule_may_name_every_field_of_one_and_needs_none() -> None:
    document = openapi()
    asked = document["paths"]["/api/alerts/rules/{rule_id}"]["patch"]["requestBody"]
    (body,) = asked["content"].values()
    assert body["schema"] == {"$ref": "#/components/schemas/RuleChange"}
    schemas = document["components"]["schemas"]
    change, rule = schemas["RuleChange"], schemas["NewRule"]
    assert change["additionalProperties"] is False
    assert "required" not in change
    # What is left out stays as it is: there are no defaults.
    assert change["properties"] == {
        name: {key: value for key, value in field.items() if key != "default"}
        for name, field in rule["properties"].items()
        if name != "project_id"
    }
