"""The dependencies of every operation: the caller, and the services that answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Authenticator, Caller
from meshmetrics.api.http.cursors import Cursors
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.api.metrics.schemas import Standing

bearer = HTTPBearer(
    bearerFormat="JWT", description="The user's Supabase access token", auto_error=False
)


async def standing_unknown() -> Standing:
    """The standing of the counts in a process that does not audit."""
    return Standing(audited_at=None, drift=None, backfilled=None)


@dataclass(frozen=True, slots=True)
class MetricsApi:
    """The services of the operations, in `app.state.metrics_api`."""

    authenticator: Authenticator
    reader: Reader
    cursors: Cursors
    budget: CallerBudget
    standing: Callable[[], Awaitable[Standing]] = standing_unknown


def _api(request: Request) -> MetricsApi:
    api: MetricsApi = request.app.state.metrics_api
    return api


Api = Annotated[MetricsApi, Depends(_api)]


async def authenticate(request: Request, api: Api) -> Caller:
    """The caller. Raises Problem: 401 without a valid token, 429 above the request limit."""
    caller = await api.authenticator.caller(request.headers.get("authorization"))
    request.state.caller = str(caller.user_id)
    api.budget.take(caller.user_id)
    return caller


Signed = Annotated[Caller, Depends(authenticate)]
