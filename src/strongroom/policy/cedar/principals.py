"""Who a caller is to Cedar policies."""

from strongroom.sdk.policy import Principal
from strongroom.sdk.request import Caller

USER, SERVICE = "User", "Service"
_APPROLE = "auth/approle/"  # whose roles need no mount in their name


def principal_of(caller: Caller, service: str = "") -> Principal:
    """Who ``caller`` is.

    Args:
        caller: as the token says. What a caller may choose itself (the metadata of a token that it created) names
            no service: only the login of a method that knows services does.
        service: the entity's metadata ``service``, "" = none.
    """
    name = service or _service(caller)
    if name:
        return Principal(SERVICE, name, caller.groups)
    return Principal(USER, caller.entity_name or f"token-{caller.accessor}", caller.groups)


def _service(caller: Caller) -> str:
    metadata = caller.metadata or {}
    if caller.auth_type == "approle":
        name = metadata.get("role_name", "")
    elif caller.auth_type == "jwt":
        name = metadata.get("role", "")
    elif caller.auth_type == "kubernetes":
        space, account = metadata.get("service_account_namespace", ""), metadata.get("service_account_name", "")
        name = f"{space}/{account}" if space and account else ""
    else:
        return ""
    if not name or (caller.auth_type == "approle" and caller.auth_path == _APPROLE):
        return name
    return f"{caller.auth_path.removeprefix('auth/').rstrip('/')}/{name}"
