"""What a command is made of: click underneath, Vault's flags on top, and groups that load their commands when asked."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from strongroom.cli.argv import nearest, normalise
from strongroom.cli.session import Session
from strongroom.errors import BadRequest

Callback = Callable[..., int | None]


def value(name: str, text: str = "", *, many: bool = False, kind: Any = str, short: str = "") -> click.Option:
    """A flag with a value. ``short`` is another name for it; ``many`` collects repetitions."""
    names = [f"--{name}"] + ([f"--{short}"] if short else [])
    return click.Option(names, help=text, multiple=many, type=kind, default=None if not many else ())


def switch(name: str, text: str = "", *, short: str = "") -> click.Option:
    """A flag that is on or off: None when it was not given."""
    also = f"/--no-{name}"
    names = [f"--{name}{also}"] + ([f"--{short}"] if short else [])
    return click.Option(names, help=text, default=None, is_flag=True)


def argument(name: str, shown: str = "", *, count: int = 1, required: bool = True) -> click.Argument:
    """A positional argument, ``shown`` in help under that name; ``count=-1`` takes all that are left."""
    label = shown or name.upper()
    return click.Argument(
        [name], nargs=count, required=required, metavar=label if required else f"[{label}]{'...' * (count < 0)}"
    )


def _http_flags() -> list[click.Option]:
    return [
        value("address", "Address of the server (VAULT_ADDR)."),
        value("token", "Token to use; better in VAULT_TOKEN, where other users cannot see it."),
        value("namespace", "Namespace of the request (VAULT_NAMESPACE).", short="ns"),
        value("ca-cert", "PEM file with the authority to trust (VAULT_CACERT)."),
        value("ca-path", "Folder of such PEM files (VAULT_CAPATH)."),
        value("client-cert", "PEM file with a client certificate (VAULT_CLIENT_CERT)."),
        value("client-key", "PEM file with its key (VAULT_CLIENT_KEY)."),
        value("tls-server-name", "Name expected in the server's certificate (VAULT_TLS_SERVER_NAME)."),
        switch("tls-skip-verify", "Do not verify the server's certificate (VAULT_SKIP_VERIFY)."),
        value("wrap-ttl", "Have the answer wrapped in a token that lives this long (VAULT_WRAP_TTL)."),
        value("header", "Extra header as name=value; may be repeated.", many=True),
        value("mfa", "Second factor, sent as X-Vault-MFA; may be repeated.", many=True),
        switch("policy-override", "Ask the server to override a soft-mandatory policy."),
        switch("output-curl-string", "Print the request as a curl command and send nothing."),
        switch("output-policy", "Print the policy rule the request needs and send nothing."),
        switch("non-interactive", "Never ask anything."),
    ]


FORMAT = ("format", "Output: table, json or yaml (VAULT_FORMAT).")
FIELD = ("field", "Print only this field, without a newline in a pipe.")


class Command(click.Command):
    """A command whose words are brought into click's form first."""

    shared: set[str] = set()  # names of the parameters every command has

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            args = normalise(args, *self.flags())
        return super().parse_args(ctx, args)

    def flags(self) -> tuple[dict[str, str], dict[str, str]]:
        """Accepted name -> canonical name, of the switches and of the flags with a value."""
        switches: dict[str, str] = {}
        valued: dict[str, str] = {}
        for option in self.params:
            if isinstance(option, click.Option):
                names = [name.lstrip("-") for name in option.opts]
                (switches if option.is_flag else valued).update(dict.fromkeys(names, names[0]))
        return switches, valued

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[FLAGS]", *(param.make_metavar(ctx) for param in self.params if isinstance(param, click.Argument))]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own flags in full, those every command has as a list of names."""
        dash = "--" if ctx.find_root().command.name == "kubevault" else "-"  # as its original and as Vault have them
        own = [
            (_shown(o, dash), o.help or "")
            for o in self.params
            if isinstance(o, click.Option) and o.name not in self.shared
        ]
        if own:
            with formatter.section("Flags"):
                formatter.write_dl(own)
        if self.shared:
            with formatter.section("Flags of every command"):
                names = [f"{dash}{o.opts[0][2:]}" for o in self.params if o.name in self.shared]
                formatter.write_text(" ".join(names))

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        return ["--help"]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if not incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        start = "--" if incomplete.startswith("--") else "-"
        items = [
            CompletionItem(f"{start}{name.lstrip('-')}", help=option.help)
            for option in self.params
            if isinstance(option, click.Option)
            for name in option.opts
        ]
        return [item for item in items if item.value.startswith(incomplete)]


def _shown(option: click.Option, dash: str) -> str:
    plain = [name.lstrip("-") for name in option.opts]
    names = ", ".join((dash if len(name) > 1 else "-") + name for name in plain)
    return names if option.is_flag else f"{names}=<{'number' if option.type is click.INT else 'value'}>"


class Group(click.Group):
    """Commands named in a table of ``name -> module:attribute``, loaded when they are used."""

    def __init__(self, name: str, table: Mapping[str, str], text: str, also: Mapping[str, str] = {}) -> None:
        super().__init__(name, help=text, no_args_is_help=True)
        self.table, self.also = table, also

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self.table.get(self.also.get(cmd_name, cmd_name))
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found: click.Command = getattr(importlib.import_module(f"strongroom.cli.{module}"), attribute)
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in ("-h", "-help"):
            args = ["--help", *args[1:]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            raise UnknownCommand(f"{ctx.command_path} {args[0]}", nearest(args[0], self.table))
        return args[0], command, args[1:]


class UnknownCommand(Exception):
    """There is no command of that name."""

    def __init__(self, name: str, near: str) -> None:
        super().__init__(name)
        self.name, self.near = name, near


def command(
    name: str, *params: click.Parameter, field: bool = False, form: bool = True, http: bool = True, raw: bool = False
) -> Callable[[Callback], Command]:
    """Make a command of a function ``(session, **params) -> exit code or None``; its docstring is the help.

    ``raw``: it takes ``-format=raw``.
    """

    def make(callback: Callback) -> Command:
        mine = {param.name for param in params}
        shared = _http_flags() if http else []
        if field:
            shared.insert(0, value(*FIELD))
        if form:
            shared.insert(0, value(*FORMAT))
        shared = [option for option in shared if option.name not in mine]
        names = [option.name or "" for option in shared]

        def run(**given: Any) -> int:
            flags = {key: given.pop(key) for key in names}
            with Session(flags) as session:
                if session.form == "raw" and not raw:
                    raise BadRequest("-format=raw is for read only")
                return callback(session, **given) or 0

        made = Command(name, params=[*params, *shared], callback=run, help=callback.__doc__)
        made.shared = {name for name in names if name not in ("format", "field")}
        return made

    return make
