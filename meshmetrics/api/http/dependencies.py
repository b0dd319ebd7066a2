"""Who asks, and what answering takes: what every operation is given."""

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
    """What there is to say where nobody looks after the counts."""
    return Standing(audited_at=None, drift=None, backfilled=None)


@dataclass(frozen=True, slots=True)
class MetricsApi:
    """What the operations need: `app.state.metrics_api`."""

    authenticator: Authenticator
    reader: Reader
    cursors: Cursors
    budget: CallerBudget
    standing: Callable[[], Awaitable[Standing]] = standing_unknown


def _api(request: Request) -> MetricsApi:
    api: MetricsApi = request.app.state.metrics_api
    return api


Api = Annotated[MetricsApi, Depends(_api)]


async def caller(request: Request, api: Api) -> Caller:
    """Who asks. Raises Problem: 401 without a good token, 429 for too many requests."""
    found = await api.authenticator.caller(request.headers.get("authorization"))
    request.state.caller = str(found.user_id)
    api.budget.take(found.user_id)
    return found


Signed = Annotated[Caller, Depends(caller)]
