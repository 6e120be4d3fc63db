"""How each system starts a peer when its user logs in: the file that says so, and the commands that make it known.

Nothing is done here: texts and commands only, for any system, on any system.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Sequence
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Final, Literal, NamedTuple
from xml.sax.saxutils import escape

System = Literal["linux", "macos", "windows"]

NAME: Final = "meshwit"
LABEL: Final = "meshwit.peer"
"""Of the launchd agent."""
RESTART_AFTER_S: Final = 5
USAGE_CODE: Final = 2
"""Exit code of wrong options: starting again would not help."""


class Account(NamedTuple):
    """Whose service it is.

    Attributes:
        home: the user's folder, as text.
        uid: the number of the user; of no use on Windows.
        user: with the domain on Windows: `DEN\\\\anna`.
        config: `XDG_CONFIG_HOME`, if it is set.
    """

    home: str
    uid: int = 0
    user: str = ""
    config: str = ""


class Plan(NamedTuple):
    """All about the service on one system.

    Attributes:
        path: of the file that describes it.
        content: of that file.
        prepare: commands that may fail: what they remove need not be there.
        install: commands after the file was written; the first that fails ends it.
        status: the command that tells whether it runs.
        stop: commands that may fail, before the file is removed.
        after_removal: commands once the file is gone.
        hint: what else one may want to do.
    """

    path: PurePath
    content: bytes
    prepare: tuple[tuple[str, ...], ...]
    install: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]
    stop: tuple[tuple[str, ...], ...]
    after_removal: tuple[tuple[str, ...], ...] = ()
    hint: str = ""


def plan(system: System, command: Sequence[str], account: Account) -> Plan:
    """The plan for a system.

    Args:
        system: which.
        command: python, `-m meshwit up` and the options.
        account: whose.
    """
    match system:
        case "linux":
            return _systemd(command, account)
        case "macos":
            return _launchd(command, account)
        case "windows":
            return _task(command, account)


# --- systemd -----------------------------------------------------------------------------------------------------


def _systemd(command: Sequence[str], account: Account) -> Plan:
    unit = f"{NAME}.service"
    folder = PurePosixPath(account.config or f"{account.home}/.config") / "systemd" / "user"
    systemctl = ("systemctl", "--user")
    return Plan(
        path=folder / unit,
        content=systemd_unit([*command, "--plain"]).encode(),
        prepare=(),
        install=((*systemctl, "daemon-reload"), (*systemctl, "enable", unit), (*systemctl, "restart", unit)),
        status=(*systemctl, "status", "--no-pager", unit),
        stop=((*systemctl, "disable", "--now", unit),),
        after_removal=((*systemctl, "daemon-reload"),),
        hint="it runs while you are logged in; to run it from the start of the device on: loginctl enable-linger",
    )


def systemd_unit(command: Sequence[str]) -> str:
    """A unit file (systemd.service(5)). What it says goes to the journal: `journalctl --user -u meshwit`."""
    return f"""\
[Unit]
Description=meshwit: this device in its mesh

[Service]
ExecStart={" ".join(systemd_quoted(word) for word in command)}
Restart=on-failure
RestartSec={RESTART_AFTER_S}
RestartPreventExitStatus={USAGE_CODE}
KillMode=mixed
TimeoutStopSec=20

[Install]
WantedBy=default.target
"""


def systemd_quoted(word: str) -> str:
    """A word of a command line (systemd.service(5), systemd.syntax(7)): `%` and `$` would be replaced there."""
    if re.fullmatch(r"[\w@:,./+=-]+", word, re.ASCII):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    escaped = "".join(
        one if one.isprintable() else "".join(f"\\x{byte:02x}" for byte in one.encode()) for one in escaped
    )
    return f'"{escaped}"'


# --- launchd -----------------------------------------------------------------------------------------------------


def _launchd(command: Sequence[str], account: Account) -> Plan:
    path = PurePosixPath(account.home) / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    domain = f"gui/{account.uid}"
    return Plan(
        path=path,
        content=launchd_agent([*command, "--log"]),
        prepare=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
        install=(
            ("launchctl", "enable", f"{domain}/{LABEL}"),
            ("launchctl", "bootstrap", domain, str(path)),
        ),
        status=("launchctl", "print", f"{domain}/{LABEL}"),
        stop=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
    )


def launchd_agent(command: Sequence[str]) -> bytes:
    """A property list (launchd.plist(5))."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(command),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": RESTART_AFTER_S,
            "ExitTimeOut": 20,
            "ProcessType": "Interactive",  # others are slowed down, and this one is here to compute
        },
        sort_keys=False,
    )


# --- Task Scheduler ----------------------------------------------------------------------------------------------


def _task(command: Sequence[str], account: Account) -> Plan:
    path = PureWindowsPath(account.home) / "AppData" / "Local" / NAME / "service.xml"
    python = PureWindowsPath(command[0])
    if python.name.lower() == "python.exe":
        python = python.with_name("pythonw.exe")  # opens no window
    quiet = [str(python), *command[1:], "--log"]
    return Plan(
        path=path,
        content=task_xml(quiet, account.user).encode("utf-16"),
        prepare=((*command[:3], "down", *_home_of(command)),),
        install=(
            ("schtasks", "/Create", "/TN", NAME, "/XML", str(path), "/F"),
            ("schtasks", "/Run", "/TN", NAME),
        ),
        status=("schtasks", "/Query", "/TN", NAME, "/V", "/FO", "LIST"),
        stop=(
            (*command[:3], "down", *_home_of(command)),  # ending the task would leave no time for a goodbye
            ("schtasks", "/End", "/TN", NAME),
            ("schtasks", "/Delete", "/TN", NAME, "/F"),
        ),
        hint="if it was refused: run the same in a terminal that was opened as administrator",
    )


def _home_of(command: Sequence[str]) -> list[str]:
    return ["--home", command[command.index("--home") + 1]] if "--home" in command else []


def task_xml(command: Sequence[str], user: str) -> str:
    """A task (Task Scheduler schema 1.2): at log-on of that user, without limits of time or battery."""
    words = " ".join(windows_quoted(word) for word in command[1:])
    return f"""\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>meshwit: this device in its mesh</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>{escape(user)}</UserId>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="owner">
      <UserId>{escape(user)}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>7</Priority>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>10</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="owner">
    <Exec>
      <Command>{escape(command[0])}</Command>
      <Arguments>{escape(words)}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def windows_quoted(word: str) -> str:
    """A word of a command line as the C runtime of Windows takes it apart again."""
    if word and not re.search(r'[\s"]', word):
        return word
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', word)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'
