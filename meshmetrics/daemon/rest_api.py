"""Builds the services of the REST API from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from meshmetrics.api.http.as_caller import Reader
from meshmetrics.api.http.auth import Authenticator
from meshmetrics.api.http.cursors import Cursors
from meshmetrics.api.http.dependencies import MetricsApi
from meshmetrics.api.http.jwks import Jwks, jwks_url
from meshmetrics.api.http.limits import CallerBudget
from meshmetrics.database.pool import open_pool
from meshmetrics.settings.fields import Settings


@asynccontextmanager
async def metrics_api(settings: Settings) -> AsyncIterator[MetricsApi]:
    """The REST API's services, with a pool and an HTTP client of their own, closed on exit."""
    s = settings
    secret = s.supabase_jwt_secret.get_secret_value() if s.supabase_jwt_secret else None
    async with (
        open_pool(
            s.dsn,
            size=s.api_pool_size,
            transaction_pooler=s.transaction_pooler,
        ) as pool,
        httpx.AsyncClient() as client,
    ):
        keys = Jwks(jwks_url(s.supabase_url), client)
        try:
            yield MetricsApi(
                Authenticator(secret, keys),
                Reader(
                    pool,
                    statement_timeout=s.api_statement_timeout,
                    share=max(1, s.api_pool_size // 4),
                ),
                Cursors(s.secret_keys[0]),
                CallerBudget(s.api_requests_per_second, s.api_burst),
            )
        finally:
            await keys.close()
