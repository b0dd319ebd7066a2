"""The API's documentation as one page of plain HTML: no script, and no other file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

_SCHEMA = re.compile(r'"#/components/schemas/([^"]+)"')
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 3rem; border-top: 1px solid #8886; padding-top: 1.5rem }
code { font: .9em ui-monospace, monospace }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0 }
tr { border-bottom: 1px solid #8884 }
"""


def documentation(openapi: dict[str, Any]) -> str:
    """The page for an OpenAPI document."""
    info = openapi["info"]
    operations = [
        (path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = openapi.get("components", {}).get("schemas", {})
    request_schemas = {
        name
        for _, _, operation in operations
        for name in _SCHEMA.findall(json.dumps(operation.get("requestBody", {})))
    }
    contents = "".join(
        f'<li><a href="#{_anchor(method + path)}">{_name(path, method)}</a></li>'
        for path, method, _ in operations
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: REST API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])}: REST API</h1>{_text(info.get('description', ''))}"
        f"<p>Version {escape(info['version'])}. For programs:"
        ' <a href="openapi.json">openapi.json</a></p>'
        f"<nav><ul>{contents}</ul></nav><main>"
        + "".join(_operation(*operation) for operation in operations)
        + "<h2>Schemas</h2>"
        + "".join(
            _schema(name, schema, schema.get("required", ()) if name in request_schemas else ())
            for name, schema in schemas.items()
        )
        + "</main></body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [
        (
            f"<code>{escape(p['name'])}</code>" + (" (required)" if p.get("required") else ""),
            _type(p["schema"]),
            _text(p.get("description", "")),
        )
        for p in operation.get("parameters", ())
    ]
    request = operation.get("requestBody", {})
    bodies = [
        (_media(media, content), "required" if request.get("required") else "")
        for media, content in request.get("content", {}).items()
    ]
    responses = [
        (
            f"<code>{status}</code>",
            ", ".join(_media(*item) for item in response.get("content", {}).items()),
            _text(response.get("description", "")),
        )
        for status, response in sorted(operation["responses"].items())
    ]
    signed = "<p>Requires a user's token.</p>" if operation.get("security") else ""
    return (
        f'<section><h2 id="{_anchor(method + path)}">{_name(path, method)}</h2>'
        f"{_text(operation.get('description', ''))}{signed}"
        + (_table(("parameter", "takes", ""), rows) if rows else "")
        + (_table(("request body", ""), bodies) if bodies else "")
        + _table(("response", "body", ""), responses)
        + "</section>"
    )


def _name(path: str, method: str) -> str:
    return f"<code>{method.upper()} {escape(path)}</code>"


def _media(media: str, content: dict[str, Any]) -> str:
    return f"<code>{escape(media)}</code> {_type(content.get('schema', {}))}"


def _schema(name: str, schema: dict[str, Any], required: Sequence[str]) -> str:
    """`required`: the fields that a request's body must have."""
    rows = [
        (
            f"<code>{escape(field)}</code>" + (" (required)" if field in required else ""),
            _type(inner),
            _text(inner.get("description", "")),
        )
        for field, inner in schema.get("properties", {}).items()
    ]
    head = (
        f'<h3 id="schema-{_anchor(name)}">{escape(name)}</h3>{_text(schema.get("description", ""))}'
    )
    return f"<section>{head}{_table(('field', 'type', ''), rows)}</section>"


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f'<a href="#schema-{_anchor(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(inner) for inner in schema["anyOf"])
    if "enum" in schema:
        return " ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    words = [str(schema.get("type", "anything"))]
    if "items" in schema:
        words.append("of " + _type(schema["items"]))
    words += [escape(schema["format"])] if "format" in schema else []
    words += [
        f"{word} {schema[key]:,}"
        for key, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("minLength", "length from"),
            ("maxLength", "length to"),
            ("maxItems", "at most"),
        )
        if key in schema
    ]
    if schema.get("default") is not None:
        words.append(f"(default <code>{escape(json.dumps(schema['default']))}</code>)")
    return " ".join(words)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    """A description as paragraphs, with its `code`."""
    return "".join(
        "<p>" + re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(part)) + "</p>"
        for part in re.split(r"\n\s*\n", text)
        if part.strip()
    )


def _anchor(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
