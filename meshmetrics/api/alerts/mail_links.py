"""The pages behind the links in mails. A link is its own permission: no sign-in is needed.

A GET changes nothing, because mail filters and previews follow links; the button sends a POST. So
do mail programs that show a button of their own (RFC 8058).
"""

from __future__ import annotations

from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from meshmetrics.alerts.channels.email.links import PATH, Purpose, Recipient
from meshmetrics.api.alerts.channels import Alerts
from meshmetrics.api.http.dependencies import Api
from meshmetrics.api.http.problems import from_database

router = APIRouter(include_in_schema=False)


class _Words(NamedTuple):
    question: str
    button: str
    done: str


_WORDS: dict[Purpose, _Words] = {
    "confirm": _Words(
        "Do you want notices about failing workflows at this address?",
        "Confirm",
        "Confirmed. Notices come to this address from now on.",
    ),
    "unsubscribe": _Words(
        "Do you want no more mail of this project?",
        "Unsubscribe",
        "Unsubscribed. This project cannot send you mail any more.",
    ),
    "subscribe": _Words(
        "May this project send you mail again?",
        "Allow mail again",
        "This project may send you mail again. Its members have to switch the channel on.",
    ),
}
_GONE = "This link is not valid any more. If you still want notices, ask for a new mail."
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_STYLE = (
    "font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem"
)


@router.get(PATH + "{token}")
async def mail_page(api: Api, alerts: Alerts, request: Request, token: str) -> HTMLResponse:
    """What the link does, and a button that does it."""
    found = _read(api, alerts, request, token)
    if found is None:
        return _page(_GONE, 404)
    words = _WORDS[found[0]]
    return _page(words.question, 200, _form(token, words.button))


@router.post(PATH + "{token}")
async def mail_action(api: Api, alerts: Alerts, request: Request, token: str) -> HTMLResponse:
    """Do what the link is for. Doing it twice is doing it once."""
    found = _read(api, alerts, request, token)
    if found is None or alerts.links is None or alerts.consent is None:
        return _page(_GONE, 404)
    purpose, recipient = found
    try:
        if purpose == "confirm":
            if not await alerts.consent.confirm(recipient):
                return _page(_GONE, 404)
        else:
            await alerts.consent.unsubscribe(recipient, undo=purpose == "subscribe")
    except Exception as error:
        problem = from_database(error)
        if problem is None:
            raise
        raise problem from error
    form = ""
    if purpose == "unsubscribe":
        again = alerts.links.token("subscribe", recipient)
        form = _form(again, _WORDS["subscribe"].button)
    return _page(_WORDS[purpose].done, 200, form)


def _read(
    api: Api, alerts: Alerts, request: Request, token: str
) -> tuple[Purpose, Recipient] | None:
    """Who may do what. Raises Problem (429) for too many requests from one address."""
    api.budget.take(("mail links", request.client.host if request.client else None))
    return alerts.links.read(token) if alerts.links else None


def _form(token: str, button: str) -> str:
    # Relative: a proxy may serve us below a path of its own.
    return f'<form method="post" action="{token}"><button>{button}</button></form>'


def _page(text: str, status: int, form: str = "") -> HTMLResponse:
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>meshmetrics: e-mail</title>'
        f'<body style="{_STYLE}"><h1>meshmetrics</h1><p>{text}</p>{form}'
    )
    return HTMLResponse(page, status, _HEADERS)
