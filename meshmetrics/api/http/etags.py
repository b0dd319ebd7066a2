"""Conditional responses: a client does not download what it already has."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing has changed since the response with the given `ETag`"}
}


def cached(request: Request, answer: BaseModel) -> Response:
    """The response with its ETag, or 304 if the client has it already."""
    body = answer.model_dump_json().encode()
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Vary": "Authorization"}
    condition = request.headers.get("if-none-match", "")
    known = {part.strip().removeprefix("W/") for part in condition.split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
