"""`ibgw credentials rotate`: a new version of a secret is proved by one real login before it becomes the current one.

The stages of the versions are all that is written down. AWSPENDING on a version that is not the current one: a rotation
is under way with it. Whoever was killed runs the same command again, which goes on from there.
"""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum

from pydantic import SecretStr

from deployment.description import Deployment, Gateway, SecondFactor
from deployment.errors import ExitCode, IbgwError
from deployment.tables import Kind
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.gateway_container import status_of
from healthcheck.reasons import EXPLANATIONS, Reason, Side
from infra.supervisor import MAXIMUM_ATTEMPTS
from operations.answers import Answer
from operations.batches import Result, Rules
from operations.credentials.place import Place
from operations.credentials.putting import pinned
from operations.credentials.secrets_manager import CURRENT, PENDING, Metadata, SecretsManager
from operations.lifecycle import guard_attempts
from operations.plan.reading import NEW_SECRET, read
from operations.rollout import rollout
from operations.stack import Stack

Say = Callable[[str], None]

ALONE = Rules(parallel=1)

_PIN = "credentials.versionId"


class Ending(StrEnum):
    ROTATED = "rotated"
    WAITING = "waiting"
    """For an approval, or for something that heals: the same command goes on."""
    TAKEN_BACK = "taken_back"
    ABANDONED = "abandoned"
    PLANNED = "planned"
    """A dry run."""


EXIT_CODES = {
    Ending.ROTATED: ExitCode.OK,
    Ending.WAITING: ExitCode.TIMED_OUT,
    Ending.TAKEN_BACK: ExitCode.FAILED,
    Ending.ABANDONED: ExitCode.OK,
    Ending.PLANNED: ExitCode.OK,
}


@dataclass(frozen=True)
class Rotated:
    """`before`, `after`: ids of versions; no `after` where none was written yet. `attempts`: the logins with the new
    one that failed, of MAXIMUM_ATTEMPTS. `why`: reasons of the checks that failed."""

    place: Place
    ending: Ending
    before: str
    after: str | None
    attempts: int = 0
    why: tuple[str, ...] = ()
    text: str = ""

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES[self.ending]

    def human(self) -> str:
        return f"{self.place.stack}/{self.place.gateway}: {self.text}"

    @property
    def answer(self) -> "RotationAnswer":
        return RotationAnswer(
            exit_code=self.exit_code,
            stack=self.place.stack,
            gateway=self.place.gateway,
            secret=self.place.secret_id,
            result=self.ending,
            before=self.before,
            after=self.after,
            attempts=self.attempts,
            why=self.why,
        )


class RotationAnswer(Answer):
    """As Rotated has it; `secret` by its id."""

    exit_code: int
    stack: str
    gateway: str
    secret: str
    result: Ending
    before: str
    after: str | None
    attempts: int
    why: tuple[str, ...]


@dataclass(frozen=True)
class Person:
    """Who is asked. `value`: the new document, beside the current one; `changed`: whether the password is changed at
    IBKR now, else it raises IbgwError; `consent`: to what ends the sessions of a live stack."""

    value: Callable[[SecretStr], SecretStr]
    changed: Callable[[], None]
    consent: Callable[[Deployment, Gateway], None]


@dataclass(frozen=True)
class Rotation:
    secrets: SecretsManager
    place: Place
    person: Person
    say: Say

    @property
    def stack(self) -> Stack:
        return Stack(self.place.stack)

    def run(self, *, dry_run: bool) -> Rotated:
        """Raises IbgwError: REFUSED where nothing can be rotated, and what the update or Secrets Manager refused."""
        known, current = self._known()
        pending = known.staged(PENDING)
        gateway = self._gateway()
        if dry_run:
            return self._planned(current, pending.id if pending else None, gateway)
        if pending is not None and pending.id == current:
            return self._finish(current, current)
        self._check_session(gateway)
        self.person.consent(self.stack.deployment(), gateway)
        if pending is None:
            after = self._begin(current, gateway)
        else:
            after = pending.id
            self.say(f"Going on with {after}, which is {PENDING}.")
        if self._attempts(gateway, after) >= MAXIMUM_ATTEMPTS:
            return self._back(current, after, (Reason.GUARD_HELD.value,))
        return self._prove(current, after, tried=gateway.secret.version_id == after)

    def abandon(self) -> Rotated:
        """Takes a rotation back that is under way. Raises IbgwError (REFUSED) if there is none."""
        known, current = self._known()
        pending = known.staged(PENDING)
        if pending is None or pending.id == current:
            raise self._refused("no rotation is under way")
        gateway = self._gateway()
        if gateway.secret.version_id == pending.id:
            self.person.consent(self.stack.deployment(), gateway)
        return replace(self._back(current, pending.id, ()), ending=Ending.ABANDONED)

    def _known(self) -> tuple[Metadata, str]:
        """With the id of the current version."""
        if self.place.pinned is not None:
            raise pinned(self.place)
        known = self.secrets.describe(self.place.secret_id)
        current = known.staged(CURRENT)
        if known.deleted is not None or current is None:
            fault = "is marked for deletion" if known.deleted is not None else "has no current version"
            raise self._refused(f"secret {self.place.secret_id!r} {fault}; `ibgw credentials check` says what to do")
        return known, current.id

    def _gateway(self) -> Gateway:
        """As it is deployed now."""
        deployed = self.stack.deployment().gateways.get(self.place.gateway)
        if deployed is None:
            raise self._refused(f"gateway {self.place.gateway!r} is not deployed, so that nothing can prove a version")
        return deployed

    def _planned(self, current: str, pending: str | None, gateway: Gateway) -> Rotated:
        asks = " and asks for its second factor" if gateway.second_factor is SecondFactor.PUSH else ""
        begins = f"goes on with {pending}" if pending else "asks for the new password and adds it as AWSPENDING"
        text = (
            f"{begins}; then {self.place.gateway} logs in with it{asks}; if it is verified, it becomes {CURRENT}, "
            f"else the gateway goes back to {current}. Nothing was changed."
        )
        return Rotated(self.place, Ending.PLANNED, current, pending, text=text)

    def _begin(self, current: str, gateway: Gateway) -> str:
        if gateway.secret.version_id != current:
            raise self._refused(
                f"{self.place.gateway} runs {gateway.secret.version_id}, and {current} is current; deploy that first: "
                f"`{self.stack.update_command}`"
            )
        value = self.person.value(self.secrets.value(self.place.secret_id, current))
        token = str(uuid.uuid4())
        self.secrets.add(self.place.secret_id, value, token, PENDING)
        self.say(f"Added {token} as {PENDING}; {current} stays current.")
        return token

    def _check_session(self, gateway: Gateway) -> None:
        """Raises IbgwError (REFUSED) where somebody else is logged in as this user: the login would prove nothing."""
        with self._docker() as docker, self._errors(gateway):
            running = docker.there(Kind.CONTAINER, gateway.container.id)["State"]["Running"]
            status = status_of(docker, gateway) if running else None
        if status is not None and status.phase == "competing_session":
            raise self._refused(
                "somebody else is logged in as this user; end that session, and run the same command again"
            )

    def _prove(self, current: str, after: str, *, tried: bool) -> Rotated:
        """One update of this gateway alone, with the version named, and its verification. `tried`: it runs already."""
        with self.stack.with_version(self.place.gateway, after) as proving:
            self._check_alone(proving)
            if not tried:
                self.person.changed()
            if self.place.second_factor is SecondFactor.PUSH:
                self.say("It asks for its second factor: approve the login in IBKR Mobile when it shows up.")
            outcome = rollout(proving, [self.place.gateway], ALONE, say=self.say).gateways[0]
        if outcome.result is Result.VERIFIED:
            self.secrets.move(self.place.secret_id, CURRENT, to=after, away_from=current)
            return self._finish(current, after)
        if outcome.result is Result.WAITING or _waits(outcome.why):
            text = (
                f"not proved yet ({', '.join(outcome.why)}); {after} stays {PENDING}. The same command goes on with "
                "it, without another login; with --abandon it goes back"
            )
            attempts = self._attempts(self._gateway(), after)
            return Rotated(self.place, Ending.WAITING, current, after, attempts, outcome.why, text)
        return self._back(current, after, outcome.why)

    def _finish(self, before: str, after: str) -> Rotated:
        """The new version is current. It is deployed, and an update with the stack's own file says so in the state;
        another one changes nothing. The label goes last: until then the same command does this again."""
        if self._gateway().secret.version_id == after:
            rollout(self.stack, [self.place.gateway], ALONE, say=self.say)
        self.secrets.move(self.place.secret_id, PENDING, to=None, away_from=after)
        return Rotated(self.place, Ending.ROTATED, before, after, text=f"logs in with {after}, which is {CURRENT} now")

    def _check_alone(self, proving: Stack) -> None:
        """Raises IbgwError (REFUSED) where something else waits to be deployed: it would be proved along with it."""
        for planned in read(proving.name, proving.preview()).gateways:
            others = [reason.setting for reason in planned.reasons if reason.setting not in (NEW_SECRET, _PIN)]
            if planned.gateway == self.place.gateway and others:
                raise self._refused(
                    f"{', '.join(others)} waits to be deployed as well; deploy that first: "
                    f"`{self.stack.update_command}`"
                )

    def _back(self, current: str, after: str, why: tuple[str, ...]) -> Rotated:
        """To the version that is still current. The label goes last: until then the same command does this again."""
        gateway = self._gateway()
        attempts = self._attempts(gateway, after)
        said = f"{after} is taken back"
        said += f" ({', '.join(why)})" if why else ""
        said += f"; {attempts} of {MAXIMUM_ATTEMPTS} attempts with it failed"
        if gateway.secret.version_id == after:
            self.say(f"{said}. {self.place.gateway} goes back to {current}.")
            outcome = rollout(self.stack, [self.place.gateway], ALONE, say=self.say).gateways[0]
            told = ", ".join(outcome.why)
            said += f"; with {current} again the gateway is {outcome.result.replace('_', ' ')}"
            if told:
                said += (
                    f" ({told}). If the password was changed at IBKR, change it back there, or put the right one in "
                    f"with `ibgw credentials put --stack {self.stack.name} --gateway {self.place.gateway}`"
                )
        self.secrets.move(self.place.secret_id, PENDING, to=None, away_from=after)
        return Rotated(self.place, Ending.TAKEN_BACK, current, after, attempts, why, said)

    def _attempts(self, gateway: Gateway, version: str) -> int:
        """The start guard's count, which the gateway's volume keeps."""
        of_version = gateway.model_copy(update={"secret": gateway.secret.model_copy(update={"version_id": version})})
        with self._docker() as docker, self._errors(gateway):
            return guard_attempts(docker, of_version)

    def _docker(self) -> DockerHost:
        return DockerHost(self.stack.configured().docker_host)

    def _errors(self, gateway: Gateway) -> AbstractContextManager[None]:
        return docker_errors(f"Container {gateway.container.name}", "check the daemon, and run the same again")

    def _refused(self, fault: str) -> IbgwError:
        return IbgwError(
            f"{self.place.stack}/{self.place.gateway}: {fault}. No login was tried.", exit_code=ExitCode.REFUSED
        )


def _waits(why: tuple[str, ...]) -> bool:
    """Whether it is IBKR's side, or heals by itself, so that it says nothing of the version."""
    known = [EXPLANATIONS[Reason(reason)] for reason in why]
    return bool(known) and all(reason.side is Side.IBKR or reason.heals for reason in known)
