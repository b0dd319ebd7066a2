"""The operations on alerts: rules, incidents, channels, deliveries."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from meshmetrics.api.alerts import channels, incidents, rules
from meshmetrics.api.http.dependencies import bearer
from meshmetrics.api.http.problems import responses

router = APIRouter(
    prefix="/api/alerts",
    tags=["alerts"],
    dependencies=[Depends(bearer)],
    responses=responses(400, 401, 404, 409, 422, 429, 431, 500, 503),
)
for part in (rules, incidents, channels):
    router.include_router(part.router)
