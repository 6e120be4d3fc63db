"""What this device is, looked up once at the start: the `member` record of this peer. Adapter."""

from __future__ import annotations

import platform
from typing import Final

from meshwit import __version__
from meshwit.bench.allowances import allowances
from meshwit.bench.capabilities import capabilities
from meshwit.bench.cores import usable_cores
from meshwit.peer.control.options import UpOptions
from meshwit.peer.mesh.profile import MemberProfile, encode, plain
from meshwit.peer.rates import controller_versions
from meshwit.peer.wire.handshake import PROTOCOL, PROTOCOL_MIN
from meshwit.plugins.discovery import installed
from meshwit.records import RECORD_BYTES_MAX

_OS_NAMES: Final = {"Darwin": "macOS"}
_ADDRESSES_BYTES: Final = 2048
"""Room for the addresses, which come later and change."""


def portrait(options: UpOptions, name: str, device: str, chain: bytes) -> MemberProfile:
    """The profile, all but the addresses and the port. Asks drivers and imports controllers: some tenths of a second.

    Raises:
        ValueError: a property of the owner's has a name that cannot be one, or they are too long to be told.
        BrokenController, ControllerClash: an installed controller cannot be used.
    """
    found = capabilities(options.properties) | allowances(options.functions, pickle=options.allow_pickle)
    profile = MemberProfile(
        name=name,
        chain=chain,
        device=device,
        meshwit=__version__,
        protocols=(PROTOCOL_MIN, PROTOCOL),
        system=plain(f"{_OS_NAMES.get(platform.system(), platform.system())} {found['os.version']}, {found['arch']}"),
        capabilities={key: value for key, value in found.items() if isinstance(value, bool | int | float | str)},
        controllers=offered_controllers(),
        slots=options.slots if options.slots is not None else usable_cores(),
        when=options.when,
        open=options.open,
    )
    length = len(encode(profile))
    if length > RECORD_BYTES_MAX - _ADDRESSES_BYTES:
        raise ValueError(
            f"what this device would tell of itself has {length} bytes: use fewer or shorter properties and controllers"
        )
    return profile


def offered_controllers() -> dict[str, str]:
    """The installed controllers whose extras are there: class reference -> version of its distribution."""
    registry = installed()
    versions = controller_versions(registry)
    return {each: versions[each] for each, controller in registry.controllers.items() if not controller.missing()}
