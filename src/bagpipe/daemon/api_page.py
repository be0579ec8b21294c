"""The HTTP interface on one page for people, made of its description for programs; needs no network and no script."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = "body{font:15px sans-serif;margin:2em;max-width:70em}td{padding:.2em 1em .2em 0;vertical-align:top}"


def page(description: dict[str, Any]) -> str:
    """HTML: every path with its methods, and the fields of every body."""
    rows = [
        f"<tr><td><b>{method.upper()}</b><td><code>{escape(path)}</code><td>{escape(told.get('summary', ''))}"
        for path, methods in description["paths"].items()
        for method, told in methods.items()
    ]
    bodies = [
        f"<h2>{escape(name)}</h2><p>{escape(schema.get('description', ''))}<table>{''.join(_fields(schema))}</table>"
        for name, schema in description.get("components", {}).get("schemas", {}).items()
        if name.endswith("Body")
    ]
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1>"
        f'<p>For programs: <a href="/v2/openapi.json">openapi.json</a><table>{"".join(rows)}</table>{"".join(bodies)}'
    )


def _fields(schema: dict[str, Any]) -> list[str]:
    needed = schema.get("required", [])
    return [
        f"<tr><td><code>{escape(name)}</code><td>{escape(_type(field))}<td>{'required' if name in needed else ''}"
        f"<td>{escape(field.get('description', ''))}"
        for name, field in schema.get("properties", {}).items()
    ]


def _type(field: dict[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    inner = field.get("items", field.get("additionalProperties"))
    kind = str(field.get("type", "any"))
    return f"{kind} of {_type(inner)}" if isinstance(inner, dict) and inner else kind
