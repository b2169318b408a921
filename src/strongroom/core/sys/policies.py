"""sys/policies/acl and the older sys/policy: read, write, list and delete ACL policies."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.clock import rfc3339
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


# OpenBao's switches: template values with slashes or wildcards are refused here, and no write has to name a version.
_SWITCHES = {
    "allow_slashes_in_identity_templates": False,
    "allow_wildcards_in_identity_templates": False,
    "cas_required": False,
}


class PolicyArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    policy: Text = Text("")
    rules: Text = Text("")  # the old name of ``policy``
    cas: Any = None
    tests: Text | msgspec.UnsetType = msgspec.UNSET


class PolicyRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.PATCH: self.write, Op.DELETE: self.delete}
        old = {**one, Op.READ: self.read_old}
        listing = {Op.LIST: self.list_plain}
        about = "An ACL policy, in HCL or JSON."
        return (
            Route(pattern="policies/acl/{prefix...}/", ops={Op.LIST: self.below}, help="Names hold no slash."),
            Route(pattern="policies/detailed/acl/{prefix...}/", ops={Op.LIST: self.below}, help="Names hold no slash."),
            Route(pattern="policy/{prefix...}/", ops={Op.LIST: self.below}, help="Names hold no slash."),
            Route(pattern="policies/acl/", ops=listing, help="The names of the ACL policies."),
            Route(
                pattern="policies/acl/{name}", ops=one, args=PolicyArgs, exists=self._exists, fold=("name",), help=about
            ),
            Route(
                pattern="policies/detailed/acl/", ops={Op.LIST: self.detailed}, help="ACL policies and their history."
            ),
            Route(
                pattern="policies/detailed/acl/{name}",
                ops={**one, Op.READ: self.read_detailed},
                args=PolicyArgs,
                exists=self._exists,
                fold=("name",),
                help=about,
            ),
            Route(pattern="policy", ops={Op.READ: self.list_old}, help="The names of the policies."),
            Route(pattern="policy/", ops={Op.LIST: self.list_old}, help="The names of the policies."),
            Route(pattern="policy/{name}", ops=old, args=PolicyArgs, exists=self._exists, fold=("name",), help=about),
        )

    async def _exists(self, call: Call) -> bool:
        store = self._core.space(call.request.namespace).policies
        return await store.get(call.match.params["name"]) is not None

    async def _text(self, call: Call, name: str) -> str:
        if name == "root":
            return ""
        stored = await self._core.space(call.request.namespace).policies.get(name)
        if stored is None:
            raise NotFound
        return stored.text

    async def read(self, call: Call, args: PolicyArgs) -> Response:
        """Exactly these two, as hvac's tests compare the whole answer."""
        return Response(data={"name": args.name, "policy": await self._text(call, args.name)})

    async def read_old(self, call: Call, args: PolicyArgs) -> Response:
        text = await self._text(call, args.name)
        return Response(data={"name": args.name, "rules": text, **await self._details(call, args.name)}, flat=True)

    async def read_detailed(self, call: Call, args: PolicyArgs) -> Response:
        text = await self._text(call, args.name)
        return Response(data={"name": args.name, "policy": text, **await self._details(call, args.name)})

    async def _details(self, call: Call, name: str) -> dict[str, Any]:
        stored = await self._core.space(call.request.namespace).policies.get(name)
        data: dict[str, Any] = {**_SWITCHES, "version": stored.version if stored else 0}
        if stored is not None and stored.modified:
            data["modified"] = rfc3339(stored.modified)
        if stored is not None and stored.tests:
            data["tests"] = stored.tests
        return data

    async def detailed(self, call: Call, args: NoArgs) -> Response:
        names = await self._core.space(call.request.namespace).policies.names()
        info = {name: {"name": name, **await self._details(call, name)} for name in names}
        return Response(data={"keys": names, "key_info": info})

    async def list_plain(self, call: Call, args: NoArgs) -> Response:
        return Response(data={"keys": await self._core.space(call.request.namespace).policies.names()})

    async def below(self, call: Call, args: NoArgs) -> Response:
        """Policy names hold no slash, so nothing lies below one."""
        raise NotFound

    async def list_old(self, call: Call, args: NoArgs) -> Response:
        names = await self._core.space(call.request.namespace).policies.names()
        return Response(data={"keys": names, "policies": names}, flat=True)

    async def write(self, call: Call, args: PolicyArgs) -> Response:
        text = str(args.policy or args.rules)
        if not text:
            raise BadRequest("'policy' parameter not supplied or empty")
        if text.strip() and not text.lstrip().startswith("{"):
            text = perhaps_base64(text)
        tests = None if args.tests is msgspec.UNSET else str(args.tests)
        await self._core.space(call.request.namespace).policies.put(args.name, text, self._core.now(), tests=tests)
        if args.rules and not args.policy:
            return Response(warnings=("'rules' is deprecated, please use 'policy' instead",))
        return Response()

    async def delete(self, call: Call, args: PolicyArgs) -> Response:
        await self._core.space(call.request.namespace).policies.delete(args.name)
        return Response()


def perhaps_base64(text: str) -> str:
    """Vault takes a policy in base64 too; HCL text never is base64, for it has blanks or braces."""
    import base64

    if any(c in text for c in ' {}"\n'):
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:  # not base64, not ASCII, or not UTF-8 inside
        return text
