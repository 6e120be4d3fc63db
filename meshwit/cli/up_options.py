"""The options of `meshwit up`, read and written back: a background process and a service get the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from meshwit.bench.capabilities import checked_properties
from meshwit.cli.exit_codes import CommandError
from meshwit.peer.control.options import UpOptions

PORT_MAX = 65535


def read_host(text: str) -> tuple[str, int]:
    """`den.local`, `192.168.1.5:7946`, `[fe80::1]:7946` or `fe80::1` as host and port; 0 where none is named.

    Raises:
        CommandError: it is neither.
    """
    host, port = text.strip(), ""
    if host.startswith("["):
        host, closed, port = host[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            host = ""
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        host = host if port else ""
    fits = port == "" or (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= PORT_MAX)
    if not host or not fits or any(one.isspace() or one in "/@[]" for one in host):
        hint = "write it such as den.local, 192.168.1.5:7946 or [fe80::1]:7946"
        raise CommandError(f"--peer: `{text}` is no host", hint)
    return host, int(port or 0)


def host_text(host: str, port: int) -> str:
    """What `read_host` reads."""
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_properties(texts: Sequence[str]) -> dict[str, str]:
    """`site=berlin` as name and value. Raises CommandError."""
    properties = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise CommandError(f"--property: `{text}` has no value", "write it such as site=berlin")
        properties[name.strip()] = value.strip()
    try:
        return checked_properties(properties)
    except ValueError as error:
        raise CommandError(f"--property: {error}") from None


def read_functions(text: str) -> tuple[str, ...]:
    """`numpy,mypackage` as packages. Raises CommandError."""
    packages = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    for package in packages:
        if not all(part.isidentifier() for part in package.split(".")):
            hint = "write them such as numpy,mypackage.parts"
            raise CommandError(f"--functions: `{package}` is no name of a package", hint)
    return packages


def as_arguments(options: UpOptions) -> list[str]:
    """What to type behind `meshwit up` for these options, without the token: everybody can list processes."""
    arguments: list[str] = []
    if options.home is not None:
        arguments += ["--home", str(options.home.absolute())]
    if options.name:
        arguments += ["--name", options.name]
    if options.slots is not None:
        arguments += ["--slots", str(options.slots)]
    for name, value in options.properties.items():
        arguments += ["--property", f"{name}={value}"]
    if options.functions:
        arguments += ["--functions", ",".join(options.functions)]
    if options.allow_pickle:
        arguments.append("--allow-pickle")
    for host, port in options.peers:
        arguments += ["--peer", host_text(host, port)]
    if options.when != "always":
        arguments += ["--when", options.when]
    if options.port:
        arguments += ["--port", str(options.port)]
    return arguments + [flag for flag, wanted in (("--open", options.open), ("--new", options.new)) if wanted]
