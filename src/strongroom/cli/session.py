"""One command's dealings with the server: settings from flags and environment, calls, and how answers are shown."""

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from strongroom.cli import output, terminal
from strongroom.cli.token_file import TokenStore
from strongroom.cli.words import Stdin, parse_pairs
from strongroom.client.messages import MERGE_PATCH, Answer, Call
from strongroom.client.settings import Settings, from_environment, parse_bool, variable, variable_name
from strongroom.errors import BadRequest

if TYPE_CHECKING:
    from strongroom.client.transport import Transport

_CAPABILITIES = {"GET": "read", "PUT": "create update", "POST": "create update", "PATCH": "patch", "DELETE": "delete"}


class Instead(Exception):
    """The call was printed, not sent (-output-curl-string, -output-policy)."""


class Session:
    """What a command is given: ``call`` and ``read`` to ask, ``show...`` to answer the person."""

    def __init__(self, flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> None:
        self.environ = environ
        self.form = output.parse_format(
            flags.get("format") or variable(environ, "FORMAT"),
            "-format" if flags.get("format") else variable_name(environ, "FORMAT"),
        )
        self.field: str = flags.get("field") or ""
        self.tokens = TokenStore(environ)
        self.stdin = Stdin()
        self._flags = flags
        self._token: str | None = None  # what login uses in place of the current token
        self._settings: Settings | None = None
        self._transport: Transport | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._transport:
            self._transport.close()

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The environment's settings with the flags laid over them; the kept token when nothing else gives one."""
        if self._settings is None:
            self._settings = self._gather()
        return self._settings

    def use_token(self, token: str) -> None:
        """From now on send ``token`` (or none, if empty) instead of the current one."""
        self._token, self._settings = token, None
        self.__exit__()
        self._transport = None

    @property
    def may_ask(self) -> bool:
        """Whether there is a terminal to ask on, and asking is allowed."""
        return not self._flags.get("non_interactive") and terminal.can_ask()

    def ask_secret(self, prompt: str, instead: str) -> str:
        """Ask for a secret without echo, unless nothing may be asked; ``instead`` says what to do then."""
        if self._flags.get("non_interactive"):
            raise BadRequest(f"nothing may be asked (-non-interactive); {instead}")
        return terminal.ask_secret(prompt, instead)

    def _gather(self) -> Settings:
        flags = self._flags
        settings = from_environment(self.environ, max_retries=0)
        given = {
            name: flags[name]
            for name in ("address", "namespace", "wrap_ttl", "ca_cert", "ca_path", "client_cert", "client_key")
            if flags.get(name)
        }
        if flags.get("tls_server_name"):
            given["tls_server_name"] = flags["tls_server_name"]
        if flags.get("tls_skip_verify") is not None:
            given["skip_verify"] = flags["tls_skip_verify"]
        if flags.get("ca_cert"):
            given["ca_bytes"] = ""
        headers = parse_pairs(flags.get("header") or (), "header")
        if flags.get("mfa"):
            headers["X-Vault-MFA"] = ",".join(flags["mfa"])
        if flags.get("policy_override"):
            headers["X-Vault-Policy-Override"] = "true"
        if any(name.lower().startswith("x-vault-token") for name in headers):
            raise BadRequest("the token is given with -token or in a variable, not with -header")
        token = self._token
        if token is None:
            token = flags.get("token") or settings.token or self.tokens.get()
        return settings._replace(**given, headers=tuple(headers.items()), token=token)

    @property
    def transport(self) -> "Transport":
        """The one connection of this command; loaded when first used, so that help comes at once."""
        if self._transport is None:
            from strongroom.client.transport import Transport

            self._transport = Transport(self.settings)
        return self._transport

    def call(self, call: Call, *, aside: bool = False) -> Answer:
        """Send ``call``; raises ``Refused`` or ``Unreachable``.

        A call ``aside`` serves the command's own needs: it is sent even if only a curl command is wanted, and its
        answer is never wrapped.
        """
        return self.transport.call(self._prepared(call, aside))

    def read(self, call: Call, *, aside: bool = False) -> Answer | None:
        """As ``call``; None for a 404 that carries nothing."""
        return self.transport.read(self._prepared(call, aside))

    def _prepared(self, call: Call, aside: bool) -> Call:
        if aside:
            return call._replace(headers={**call.headers, "X-Vault-Wrap-TTL": ""})
        if call.path == "sys/wrapping/wrap" and call.method == "PUT" and not self.settings.wrap_ttl:
            call = call._replace(headers={**call.headers, "X-Vault-Wrap-TTL": "5m"})
        if self._flags.get("output_curl_string") or self._flags.get("output_policy"):
            terminal.say(self._curl(call) if self._flags.get("output_curl_string") else policy_for(call))
            raise Instead
        return call

    def _curl(self, call: Call) -> str:
        from strongroom.client.transport import target

        transport = self.transport
        words = ["curl"]
        if call.method != "GET":
            words.append(f"-X {call.method}")
        settings = transport.settings
        if settings.skip_verify:
            words.append("--insecure")
        for flag, value in (
            ("--cacert", settings.ca_cert),
            ("--capath", "" if settings.ca_cert else settings.ca_path),
            ("--cert", settings.client_cert),
            ("--key", settings.client_key),
        ):
            if value:
                words.append(f"{flag} {shlex.quote(value)}")
        headers = {"X-Vault-Request": "true"}
        if settings.namespace:
            headers["X-Vault-Namespace"] = settings.namespace
        if settings.wrap_ttl:
            headers["X-Vault-Wrap-TTL"] = settings.wrap_ttl
        if call.method == "PATCH":
            headers["Content-Type"] = MERGE_PATCH
        headers.update(dict(settings.headers) | dict(call.headers))
        words += [f"-H {_quoted(f'{name}: {value}')}" for name, value in headers.items()]
        if settings.token:
            words.append('-H "X-Vault-Token: $(strongroom print token)"')
        if (content := call.content()) is not None:
            words.append(f"-d {shlex.quote(content.decode('utf-8', 'replace'))}")
        address = transport.address
        base = f"http://localhost{target('', call)}" if address.scheme == "unix" else f"{address.url}{target('', call)}"
        if address.scheme == "unix":
            words.append(f"--unix-socket {shlex.quote(address.base)}")
        return " ".join([*words, shlex.quote(base)])

    # -- showing ---------------------------------------------------------------------------------------------------

    def show_answer(self, answer: Answer) -> int:
        """Show an enveloped (or bare) answer in the chosen form, or the one field asked for."""
        if self.form == "raw" and not self.field:
            terminal.say_raw(answer.raw.decode("utf-8", "replace").rstrip("\n"))
            return 0
        if answer.body is None:
            raise BadRequest("the answer holds no JSON object; -format=raw shows it as it is")
        body = output.envelope(answer.body)
        if self.field:
            return self.show_field(output.field_of(body, self.field))
        if self.form in ("json", "yaml"):
            terminal.say(output.render(body, self.form))
            return 0
        terminal.warn(answer.warnings)
        if text := output.secret_table(body):
            terminal.say(text)
        return 0

    def show_field(self, value: Any) -> int:
        """Show one value; None means that there is no such field."""
        if value is None:
            raise BadRequest(f"field {self.field!r} is not in the answer")
        if self.form == "yaml":
            terminal.say(output.to_yaml(value))
        else:
            terminal.say_raw(output.to_json(value) if self.form == "json" else output.go_value(value))
        return 0

    def show_data(self, value: Mapping[str, Any], text: str | None = None) -> int:
        """Show a plain object: as JSON or YAML as it is, else ``text`` or a table of its keys."""
        if self.field:
            return self.show_field(value.get(self.field))
        if self.form in ("json", "yaml"):
            terminal.say(output.render(value, self.form))
        else:
            terminal.say(output.data_table(value) if text is None else text)
        return 0

    def show_keys(self, keys: list[Any], head: str = "Keys") -> int:
        """Show a list of names: bare in JSON and YAML, under a heading otherwise."""
        terminal.say(output.render(keys, self.form) if self.form in ("json", "yaml") else output.list_table(keys, head))
        return 0

    def show_written(self, answer: Answer, success: str) -> int:
        """Show what a write answered, or ``success`` when it answered nothing; that is no JSON, so not then."""
        body = output.envelope(answer.body) if answer.body else {}
        if body.get("data") or body.get("auth") or body.get("wrap_info"):
            return self.show_answer(answer)
        if self.field:
            return self.show_field(None)
        if self.form == "table":
            terminal.warn(answer.warnings)
            terminal.say(success)
        elif body:
            return self.show_answer(answer)
        return 0


def _quoted(text: str) -> str:
    """For a shell, in double quotes where they keep everything as it is."""
    return shlex.quote(text) if any(c in '"$`\\!' for c in text) else f'"{text}"'


def policy_for(call: Call) -> str:
    """The policy rule that ``call`` needs."""
    names = ["list"] if call.query.get("list") else _CAPABILITIES.get(call.method, "read").split()
    quoted = ", ".join(f'"{name}"' for name in names)
    return f'path "{call.path.rstrip("/")}{"/" if names == ["list"] else ""}" {{\n  capabilities = [{quoted}]\n}}'


def sanitise(path: str) -> str:
    """A path argument without blanks and slashes around it."""
    return path.strip().strip("/")


def text_bool(value: str, flag: str) -> bool:
    return parse_bool(value, f"-{flag}")
