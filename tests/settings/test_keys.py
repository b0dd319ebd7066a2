"""Secret keys: how a request carries one, and which is used when one is refused."""

from __future__ import annotations

import httpx
import pytest
from structlog.testing import capture_logs

from meshmetrics.settings.keys import KeyAuth, SecretKeys

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl"


class Gateway(httpx.MockTransport):
    """Answers 202 to the keys it takes, 401 to all others, and keeps what it was sent."""

    def __init__(self, *takes: str) -> None:
        super().__init__(self._answer)
        self.takes = takes
        self.requests: list[httpx.Request] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(httpx.Request("POST", request.url, headers=request.headers))
        assert request.content == b"{}"
        return httpx.Response(202 if request.headers["apikey"] in self.takes else 401)

    @property
    def sent(self) -> list[str]:
        return [request.headers["apikey"] for request in self.requests]


async def post(gateway: Gateway, keys: SecretKeys, times: int = 1) -> list[int]:
    async with httpx.AsyncClient(transport=gateway, auth=KeyAuth(keys)) as client:
        url = "http://project.test/realtime/v1/api/broadcast"
        return [(await client.post(url, content=b"{}")).status_code for _ in range(times)]


@pytest.mark.parametrize(("key", "bearer"), [("sb_secret_a", None), (JWT, f"Bearer {JWT}")])
async def test_only_a_key_that_is_a_jwt_is_sent_as_a_bearer_token(
    key: str, bearer: str | None
) -> None:
    gateway = Gateway(key)
    assert await post(gateway, SecretKeys([key])) == [202]
    (request,) = gateway.requests
    assert request.headers["apikey"] == key
    assert request.headers.get("Authorization") == bearer


async def test_a_refused_key_gives_way_to_the_next_one_for_good() -> None:
    gateway = Gateway("sb_secret_old")
    keys = SecretKeys([JWT, "sb_secret_old"])
    with capture_logs() as lines:
        assert await post(gateway, keys, times=2) == [202, 202]
    assert gateway.sent == [JWT, "sb_secret_old", "sb_secret_old"]
    assert "Authorization" not in gateway.requests[1].headers
    assert [(line["event"], line["position"]) for line in lines] == [("keys.refused", 1)]
    assert "sb_secret_old" not in str(lines)


async def test_after_the_last_key_the_first_one_is_tried_again() -> None:
    gateway = Gateway()
    keys = SecretKeys(["sb_secret_a", "sb_secret_b"])
    assert await post(gateway, keys) == [401]
    assert gateway.sent == ["sb_secret_a", "sb_secret_b"]
    gateway.takes = ("sb_secret_a",)
    assert await post(gateway, keys) == [202]


async def test_the_only_key_is_tried_once() -> None:
    gateway = Gateway()
    assert await post(gateway, SecretKeys(["sb_secret_a"])) == [401]
    assert gateway.sent == ["sb_secret_a"]
