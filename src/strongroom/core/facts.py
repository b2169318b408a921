"""The step between who and whether: fields are decoded, a write is told from a create, facts are gathered.

It runs before authorisation, only reads, and nothing of its outcome shows to who is refused: a wrong field waits in
the match and is raised by the route.
"""

from typing import Any

import msgspec

from strongroom.errors import BadRequest, VaultError
from strongroom.sdk.engine import Call, NoArgs
from strongroom.sdk.fields import convert
from strongroom.sdk.request import Op, Response

_NONE = NoArgs()
_fields: dict[type, frozenset[str]] = {}
_texts: dict[type, tuple[frozenset[str], frozenset[str]]] = {}


class Facts:
    """Handler: fills ``call.args`` and ``call.facts``; turns UPDATE into CREATE where nothing is there yet."""

    async def pre_route(self, call: Call) -> Response | None:
        match, request = call.match, call.request
        route = match.route
        if match.refusal is not None or request.op is Op.HELP:
            return None
        try:
            if route.exists is not None and request.op is Op.UPDATE and not await route.exists(call):
                call.request = msgspec.structs.replace(request, op=Op.CREATE)
            call.args = self._args(call)
            if route.facts is not None:
                call.facts = await route.facts(call, call.args)
        except VaultError as error:
            call.match = msgspec.structs.replace(match, refusal=error)
        return None

    def _args(self, call: Call) -> Any:
        match, request = call.match, call.request
        route = match.route
        if route.args is NoArgs:
            return _NONE
        if not request.data:
            texts, required = _texts_of(route.args)
            if required <= match.params.keys() <= texts:
                return route.args(**match.params)  # a path alone has nothing to coerce
        args = convert(request.data | match.params, route.args)
        if request.data and route.strict:
            known = _fields.get(route.args)
            if known is None:
                known = _fields[route.args] = frozenset(f.name for f in msgspec.structs.fields(route.args))
            self._warn(call, known)
        return args

    def _warn(self, call: Call, known: frozenset[str]) -> None:
        """Tell of fields that the route does not have, and of those that the path overrules (wire facts B.3)."""
        params = call.match.params
        unknown = sorted(name for name in call.request.data if name not in known and name not in params)
        replaced = sorted(name for name in call.request.data if name in params)
        if unknown and call.request.op in (Op.CREATE, Op.UPDATE, Op.PATCH):
            shown = " ".join(name[:64] for name in unknown[:16])
            call.warnings += (f"Endpoint ignored these unrecognized parameters: [{shown}]",)
        if replaced:
            shown = " ".join(replaced)
            note = "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: "
            call.warnings += (f"{note}[{shown}]",)


def _texts_of(args: type[msgspec.Struct]) -> tuple[frozenset[str], frozenset[str]]:
    """The fields of ``args`` that take a path's text as it is, and those that must be given."""
    known = _texts.get(args)
    if known is None:
        fields = msgspec.structs.fields(args)
        texts = frozenset(field.name for field in fields if field.type is str and field.encode_name == field.name)
        known = _texts[args] = texts, frozenset(field.name for field in fields if field.required)
    return known


class Warnings:
    """Handler: what earlier steps warned of goes into the answer, if it says anything.

    One without content stays so, as in Vault's ``HandleRequest``: clients go by the 204.
    """

    special_only = True  # see Pipeline

    async def post_route(self, call: Call, response: Response) -> Response:
        if not call.warnings or response.bare or response.raw is not None or _empty(response):
            return response
        return msgspec.structs.replace(response, warnings=(*response.warnings, *call.warnings))


def _empty(response: Response) -> bool:
    return response.data is None and response.auth is None and response.wrap_info is None and not response.warnings


__all__ = ["BadRequest", "Facts", "Warnings"]
