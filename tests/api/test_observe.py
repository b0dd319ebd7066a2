"""Every request is measured, named and logged; errors say no more than they should."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from structlog.testing import capture_logs

from meshmetrics.api.http.middleware import frame
from meshmetrics.api.server import HttpServer
from meshmetrics.runtime.telemetry import Telemetry
from tests.api.conftest import ApiOptions, Service, signed
from tests.support import Project

SUMMARY = "/api/metrics/workflows/summary"
HISTORY = "/api/metrics/workflows/history"


def sample(telemetry: Telemetry, name: str, **labels: str) -> float:
    return telemetry.registry.get_sample_value(f"meshmetrics_{name}", labels) or 0.0


async def test_a_request_is_one_line_with_an_id_and_no_secret(
    client: httpx.AsyncClient, project: Project
) -> None:
    headers = signed(project.owner)
    with capture_logs() as lines:
        await client.get(
            SUMMARY, params={"search": "hush"}, headers=headers | {"X-Request-ID": "r-1"}
        )
    (line,) = [line for line in lines if line["event"] == "http.request"]
    assert line.pop("took_ms") > 0
    assert line == {
        "event": "http.request",
        "log_level": "info",
        "method": "GET",
        "route": SUMMARY,
        "status": 200,
        "request_id": "r-1",
        "caller": str(project.owner),
    }
    assert headers["Authorization"][7:] not in str(lines)
    assert "hush" not in str(lines)


async def test_an_id_is_taken_or_made(client: httpx.AsyncClient) -> None:
    taken = await client.get("/nowhere", headers={"X-Request-ID": "abc-1.2:3"})
    assert taken.headers["x-request-id"] == "abc-1.2:3"
    assert taken.json()["request_id"] == "abc-1.2:3"
    for bad in ("", "a b", "x" * 129, "<script>", "-dash"):
        made = await client.get("/nowhere", headers={"X-Request-ID": bad})
        assert len(made.headers["x-request-id"]) == 32
    assert len(made.headers.get_list("x-request-id")) == 1


async def test_requests_are_measured_by_route_not_by_address(
    service: Service, project: Project
) -> None:
    for n in range(3):
        await service.client.get(f"/api/metrics/workflow/{n}", headers=signed(project.owner))
        await service.client.get(f"/nowhere/{n}")
    route = "/api/metrics/workflow/{workflow_id}"
    count = "http_request_seconds_count"
    labels = {"method": "GET", "status": "422"}
    assert sample(service.telemetry, count, route=route, **labels) == 3
    labels["status"] = "404"
    assert sample(service.telemetry, count, route="unknown", **labels) == 3
    assert sample(service.telemetry, "http_requests_in_flight") == 0


async def test_what_machines_ask_every_few_seconds_is_logged_only_where_all_is(
    client: httpx.AsyncClient,
) -> None:
    with capture_logs() as lines:
        for path in ("/healthz", "/readyz", "/metrics"):
            await client.get(path)
    assert {line["log_level"] for line in lines} == {"debug"}


def application() -> tuple[FastAPI, Telemetry]:
    app, telemetry = FastAPI(), Telemetry()
    frame(app, telemetry, cors_origins=["https://app.example.com"])

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/cut")
    async def cut() -> StreamingResponse:
        async def parts() -> Any:
            yield b"begin"
            raise RuntimeError("in the middle")

        return StreamingResponse(parts())

    return app, telemetry


async def call(app: FastAPI, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        return await client.get(path, headers=headers)


async def test_an_error_nobody_foresaw_is_logged_counted_and_told_without_details() -> None:
    app, telemetry = application()
    with capture_logs() as lines:
        response = await call(app, "/broken", Origin="https://app.example.com")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in response.text
    assert response.headers["access-control-allow-origin"] == "https://app.example.com"
    (line,) = lines
    assert (line["log_level"], line["status"]) == ("error", 500)
    assert line["request_id"] == response.json()["request_id"]
    assert isinstance(line["exc_info"], RuntimeError)
    assert sample(telemetry, "http_errors_total", route="/broken") == 1


async def test_an_answer_that_breaks_off_is_an_error_and_not_a_short_answer() -> None:
    app, telemetry = application()
    transport = httpx.ASGITransport(app)
    with capture_logs() as lines:
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            with pytest.raises((RuntimeError, ExceptionGroup)):
                await client.get("/cut")
    assert [line["log_level"] for line in lines] == ["error"]
    assert sample(telemetry, "http_errors_total", route="/cut") == 1
    assert sample(telemetry, "http_requests_in_flight") == 0


async def test_a_client_that_leaves_is_no_error_of_ours() -> None:
    app, telemetry = FastAPI(), Telemetry()
    frame(app, telemetry)
    entered = asyncio.Event()

    @app.get("/slow")
    async def slow() -> None:
        entered.set()
        await asyncio.Event().wait()

    with capture_logs() as lines:
        asking = asyncio.create_task(call(app, "/slow"))
        await entered.wait()
        assert sample(telemetry, "http_requests_in_flight") == 1
        asking.cancel()
        await asyncio.wait({asking})
    assert [(line["status"], line["log_level"]) for line in lines] == [(499, "info")]
    assert sample(telemetry, "http_requests_in_flight") == 0


@pytest.fixture
def options() -> ApiOptions:
    return ApiOptions(cors_origins=("https://app.example.com",), metrics_token="let the scraper in")


async def test_only_the_origins_that_were_named_may_read_answers(
    client: httpx.AsyncClient, project: Project
) -> None:
    headers = signed(project.owner)
    for origin, allowed in (
        ("https://app.example.com", "https://app.example.com"),
        ("https://evil.example.com", None),
        ("https://app.example.com.evil.com", None),
        ("null", None),
    ):
        response = await client.get(SUMMARY, headers=headers | {"Origin": origin})
        assert response.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in response.headers
        preflight = await client.options(
            SUMMARY,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization,if-none-match",
            },
        )
        assert preflight.status_code == (200 if allowed else 400)
    answer = await client.get(SUMMARY, headers=headers | {"Origin": "https://app.example.com"})
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]
    assert "Authorization" in answer.headers["vary"]
    refused = await client.get(HISTORY, headers={"Origin": "https://app.example.com"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example.com"


async def test_metrics_want_their_token_where_one_is_set(client: httpx.AsyncClient) -> None:
    for header in (None, "Bearer wrong", "Bearer ", "Bearer let the scraper in "):
        headers = {"Authorization": header} if header else {}
        response = await client.get("/metrics", headers=headers)
        assert response.status_code == 401
        assert "meshmetrics_" not in response.text
    right = await client.get("/metrics", headers={"Authorization": "Bearer let the scraper in"})
    assert "meshmetrics_http_request_seconds" in right.text


async def test_no_answer_waits_for_the_acknowledgement_of_its_beginning(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[socket.socket] = []
    accept = socket.socket.accept

    def note(listener: socket.socket) -> Any:
        connection, address = accept(listener)
        accepted.append(connection)
        return connection, address

    monkeypatch.setattr(socket.socket, "accept", note)
    server = HttpServer(service.app, "127.0.0.1", 0)
    serving = asyncio.create_task(server.run())
    await server.started.wait()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/healthz")).status_code == 200
        (connection,) = accepted
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    server.stop()
    await serving
