"""The login contract, for every auth method of the house."""

from typing import Any

from contracts.login_contract import LoginContract
from contracts.login_harness import CHEAP, Door
from strongroom.auth.approle import AppRole
from strongroom.auth.userpass import Userpass


class TestUserpass(LoginContract):
    def open_door(self, **door: Any) -> Door:
        return Door(lambda mount: Userpass(mount, hasher=CHEAP), kind="userpass", **door)

    async def prepare(self, door: Door, **fields: Any) -> None:
        await door.write("users/bob", {"password": "right", **fields})

    async def remove(self, door: Door) -> None:
        await door.delete("users/bob")

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        return {
            "good": ("login/bob", {"password": "right"}),
            "wrong": ("login/bob", {"password": "wrong"}),
            "unknown": ("login/nobody", {"password": "right"}),
            "no proof": ("login/bob", {}),
        }


class TestAppRole(LoginContract):
    def open_door(self, **door: Any) -> Door:
        return Door(AppRole, kind="approle", **door)

    async def prepare(self, door: Door, **fields: Any) -> None:
        await door.write("role/r", fields)

    async def remove(self, door: Door) -> None:
        await door.delete("role/r")

    async def attempts(self, door: Door) -> dict[str, tuple[str, dict[str, Any]]]:
        role_id = (await door.read("role/r/role-id"))["role_id"]
        made = (await door.write("role/r/secret-id")).data or {}
        return {
            "good": ("login", {"role_id": role_id, "secret_id": made["secret_id"]}),
            "wrong": ("login", {"role_id": role_id, "secret_id": "wrong"}),
            "unknown": ("login", {"role_id": "nobody", "secret_id": made["secret_id"]}),
            "no proof": ("login", {"role_id": role_id}),
        }
