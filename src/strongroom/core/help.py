"""What ``path-help`` prints: of a route its own words, of a mount the list of its routes (GET ?help=1, a bare body)."""

import msgspec

from strongroom.core.openapi import document
from strongroom.core.router import Mounted, Router
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.request import Response

_OPENAPI_VERSION = "1"


def help_page(call: Call, router: Router) -> Response:
    """The page about ``call``'s path.

    Raises:
        VaultError: the path leads nowhere.
    """
    match = call.match
    if match.refusal is not None:
        raise match.refusal
    mount = router.mounts[match.mount_path]
    if match.route.pattern == "" and not match.route.ops:
        return _page(_of_mount(mount), mount)
    route = match.route
    shown = msgspec.structs.replace(mount, routes=tuple(pair for pair in mount.routes if pair[1] is route))
    return _page(_of_route(call, route), shown)


def _page(text: str, mount: Mounted) -> Response:
    openapi = document([mount], version=_OPENAPI_VERSION, generic=False)
    return Response(data={"help": text, "see_also": None, "openapi": openapi}, bare=True)


def _of_route(call: Call, route: Route) -> str:
    place = f"{call.match.mount_path}{route.pattern}"
    text = f"Request:        {call.request.path}\nMatching Route: {place}\n\n{route.help}\n\n## OPERATIONS\n\n"
    text += "    " + ", ".join(sorted(op.value for op in route.ops)) + "\n"
    names = [field.encode_name for field in msgspec.structs.fields(route.args)]
    if names:
        text += "\n## PARAMETERS\n\n" + "".join(f"    {name}\n" for name in names)
    return text


def _of_mount(mount: Mounted) -> str:
    text = f"## DESCRIPTION\n\nThe {mount.type} {mount.mount_class} mount at {mount.path}\n\n## PATHS\n"
    for _, route in mount.routes:
        text += f"\n    {mount.path}{route.pattern}\n        {route.help}\n"
    return text
