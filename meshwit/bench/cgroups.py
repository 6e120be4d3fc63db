"""The control groups (Linux, versions 1 and 2) that this process is in."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

_MOUNT: Final = Path("/sys/fs/cgroup")


def own_groups(controller: str, mount: Path = _MOUNT, membership: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Return the folders of the groups that limit this process for a controller, innermost first; [] without any.

    In a container the path in ``/proc`` may lie outside of what is mounted: then the mount itself is our group.
    """
    folders: list[Path] = []
    with contextlib.suppress(OSError, ValueError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                root = mount
            elif controller in controllers.split(","):
                root = mount / controller
            else:
                continue
            folder = root / path.lstrip("/")
            while folder != root and root in folder.parents:
                folders.append(folder)
                folder = folder.parent
            folders.append(root)
    return [folder for folder in folders if folder.is_dir()]
