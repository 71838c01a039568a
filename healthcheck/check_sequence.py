"""Which checks run, by what each needs and what came before. Knows nothing of the API or Docker.

The runner uses it too, for gateways that cannot be asked, and so it must not load an API client.
"""

from collections.abc import Collection, Iterable

from deployment.description import CheckLevel, Gateway
from healthcheck.observation import NEEDS, CheckName, CheckObservation, Observation, skipped
from healthcheck.reasons import Reason
from healthcheck.verdict import CheckVerdict, check_verdict, configured_level

SWITCHED_OFF = Observation("off in the configuration", Reason.SWITCHED_OFF)
NEEDS_DOCKER = Observation("needs Docker's records and other places to look from: ibgw verify", Reason.NEEDS_DOCKER)

OVER_API = frozenset(NEEDS)
MAY_FOLLOW = (CheckVerdict.PASS, CheckVerdict.WARN, CheckVerdict.NOT_APPLICABLE)


def named(texts: Iterable[str]) -> frozenset[CheckName] | None:
    """The checks of `--checks`, each text one name or several with commas; None without any text, which means all.

    Raises ValueError, naming the known ones.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    unknown = [name for name in names if name not in frozenset(CheckName)]
    if unknown:
        quoted = ", ".join(map(repr, unknown))
        raise ValueError(f"no check {quoted}; expected some of: {', '.join(CheckName)}")
    return frozenset(CheckName(name) for name in names) or None


def with_needs(names: Collection[CheckName] | None) -> frozenset[CheckName]:
    """These (None: all) and what must run before them. Nothing is verified without `connected`."""
    if names is None:
        return frozenset(CheckName)
    first = (CheckName.REACHABLE, CheckName.CONNECTED)
    return frozenset(names).union(first, *(NEEDS.get(name, ()) for name in names))


def all_skipped(gateway: Gateway, obstacle: Observation) -> list[CheckObservation]:
    """The checks over the API of a gateway that cannot be asked: the first says why, the others are skipped."""
    first, *others = NEEDS
    checks = [obstacle.by(first)]
    checks.extend(filter(None, [not_run(name, gateway, checks) for name in others]))
    return checks


def without_docker(names: Collection[CheckName]) -> list[CheckObservation]:
    """Those of `names` that look at Docker, where there is none."""
    return [NEEDS_DOCKER.by(name) for name in CheckName if name in names and name not in OVER_API]


def not_run(name: CheckName, gateway: Gateway, before: Iterable[CheckObservation]) -> CheckObservation | None:
    """Why a check is not run, being off or lacking what it needs; None for one that may run."""
    # Without figures, that the expected accounts are there is looked at all the same.
    named = name is CheckName.ACCOUNT_ACCESS and gateway.expected_accounts
    if configured_level(name, gateway) is CheckLevel.OFF and not named:
        return SWITCHED_OFF.by(name)
    for check in before:
        if check.name in NEEDS[name] and check_verdict(check, gateway) not in MAY_FOLLOW:
            return skipped(name, check.name)
    return None
