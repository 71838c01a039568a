"""What may drive the gateway: for each login automation one closed table of lines, states and exit codes.

The image's content decides which of them runs; its log shows it. Only IBC is deployed.
"""

from collections.abc import Iterable

from healthcheck.automation import ibc, ibcontroller, ibg_controller
from healthcheck.automation.base import Profile, matches

PROFILES = (ibcontroller.PROFILE, ibg_controller.PROFILE, ibc.PROFILE)


def choose(lines: Iterable[str]) -> Profile:
    """The profile of the first line that names one; IBC's, as long as none does."""
    for line in lines:
        for profile in PROFILES:
            if matches(profile.recognised, line):
                return profile
    return ibc.PROFILE
