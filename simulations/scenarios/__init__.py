"""All scenarios, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulations.directory import SCENARIOS as DIRECTORY
from simulations.scenario import Scenario
from simulations.scenarios.churn import CHURN
from simulations.scenarios.convergence import CONVERGENCE
from simulations.scenarios.deaths import GOODBYE, KILLED, PULLED, PULLED_WIFI
from simulations.scenarios.false_deaths import FROZEN, LOSS_5, LOSS_20
from simulations.scenarios.forming import BUSY, JOIN_STORM, TRAFFIC, WIDE
from simulations.scenarios.job_costs import JOB_COSTS
from simulations.scenarios.jobs import TAKEOVER, TAKEOVER_ONCE, TAKEOVER_PEOPLE
from simulations.scenarios.partitions import HALVES, ONE_WAY, SINGLE
from simulations.scenarios.scheduling import SCHEDULING

SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        KILLED,
        PULLED,
        PULLED_WIFI,
        GOODBYE,
        FROZEN,
        HALVES,
        SINGLE,
        ONE_WAY,
        JOIN_STORM,
        CHURN,
        TRAFFIC,
        BUSY,
        CONVERGENCE,
        LOSS_5,
        LOSS_20,
        *DIRECTORY.values(),
        WIDE,
        *SCHEDULING,
        TAKEOVER,
        TAKEOVER_ONCE,
        TAKEOVER_PEOPLE,
        *JOB_COSTS,
    )
}
"""The shorter ones first."""
