"""One deployed gateway, as the tests of its first process see it: container, user at the broker, its own word."""

import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import docker
import docker.errors
from docker.models.containers import Container

from healthcheck.automation.status import PATH
from healthcheck.docker_host import moment
from infra.spec import SETTINGS_PATH, SUPERVISOR_PATH, UID, VALUES_PATH
from sandbox.broker.control import BrokerControl
from sandbox.docker_engine import SANDBOX_LABEL
from sandbox.environment import Sandbox
from tests.helpers import until

COUNTERS = ("attempts", "logins", "soft_logins", "logouts", "stranded_sessions")
SECRETS = "/run/secrets"
ZONE = ZoneInfo("America/New_York")


def from_now(**length: int) -> str:
    """A time of day in the gateways' zone."""
    return f"{datetime.now(ZONE) + timedelta(**length):%H:%M}"


def nothing_planned() -> dict[str, str]:
    """A `session` whose planned restarts are hours away, whenever a test runs: nothing is healed around them."""
    return {"autoRestart": from_now(hours=12), "coldRestart": from_now(hours=9)}


class Deployed:
    """The gateway `main` of a stack."""

    def __init__(
        self, sandbox: Sandbox, stack: str, client: docker.DockerClient, broker: BrokerControl, gateway: str = "main"
    ) -> None:
        self.name = f"{sandbox.prefix}-{stack}-{gateway}"
        self.user = sandbox.user_of(stack, gateway)
        self.broker = broker
        self.client = client
        self._prefix = sandbox.prefix
        self._egress = f"{sandbox.prefix}-{stack}-egress"
        self.began = time.time()

    # Docker

    @property
    def container(self) -> Container:
        """As it is now, under its name: a replacement has another id."""
        return self.client.containers.get(self.name)

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        state = self.client.api.inspect_container(self.name)["State"]
        return None if state["Running"] or state["Restarting"] else int(state["ExitCode"])

    @property
    def log(self) -> str:
        """Since `began`."""
        return str(self.container.logs(since=self.began).decode(errors="replace"))

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: self.log.count(text) >= times, lambda: f"{self.name} says {times} times: {text}\n{self.log}")

    def bash(self, code: str) -> str:
        output = self.container.exec_run(["bash", "-c", code]).output
        assert isinstance(output, bytes)
        return output.decode().strip()

    @property
    def restarts(self) -> int:
        """How often its restart policy has started it again since somebody did. Docker's events would tell the exit
        codes too, but it keeps only the last 256 of them, whoever caused them."""
        return int(self.client.api.inspect_container(self.name)["RestartCount"])

    # Itself

    def status(self) -> dict[str, str]:
        """Empty until it has told something since its start: its earlier life leaves a line too."""
        try:
            line = self.text_of(PATH)
        except docker.errors.NotFound:
            return {}
        told = dict(word.partition("=")[::2] for word in line.split())
        started = moment(self.client.api.inspect_container(self.name)["State"]["StartedAt"])
        return told if int(told.get("now", 0)) > started.timestamp() else {}

    def until_status(self, **wanted: str) -> None:
        until(
            lambda: wanted.items() <= self.status().items(),
            lambda: f"{self.name} tells {wanted}\n{self.status()}\n{self.log}",
        )

    def until_logged_in(self) -> None:
        self.until_status(phase="logged_in")

    def runs_nothing(self) -> bool:
        """No program of the gateway, and nothing that would start one."""
        shown = self.container.top(ps_args="-eo pid,args")["Processes"] or []
        return not any(part in line for _, line in shown for part in ("IbcGateway", "ibcstart", "run.sh", "Xvfb"))

    # The settings volume

    def remember(self, **files: str) -> None:
        """Writes files of guard/ as the image's user."""
        given = {f"guard/{name}": text for name, text in files.items()}
        self.container.put_archive(SETTINGS_PATH, packed(given, mode=0o600))

    def guard(self, pattern: str) -> list[str]:
        """The lines of a file of guard/."""
        return self.bash(f"cat {SETTINGS_PATH}/guard/{pattern}").splitlines()

    @property
    def version(self) -> str:
        """Of its secret."""
        return self.text_of(f"{SECRETS}/secret_version")

    def forget(self) -> None:
        """Stopped at once, with nothing wrong at the broker and nothing remembered of its earlier starts."""
        self.broker.clear(self.user)
        if self.ended is None:
            self.bash(f"rm -f {SETTINGS_PATH}/guard/give_way")
            self.container.kill()
            until(lambda: self.ended is not None, "the killed container ends")
        until(lambda: not self.sessions, "the broker has lost the session")
        self.remember(**{f"{self.version}.attempts": "0\n", "history": "", "pause": "0\n", "heals": ""})
        self.began = time.time()

    # The broker

    @property
    def counted(self) -> dict[str, int]:
        user = self.broker.status()["users"][self.user]
        return {name: int(user[name]) for name in COUNTERS}

    @property
    def sessions(self) -> list[str]:
        return list(self.broker.status()["users"][self.user]["sessions"])

    def since(self, before: Mapping[str, int]) -> dict[str, int]:
        """What the broker has counted since then; what has not changed is left out."""
        return {name: number - before[name] for name, number in self.counted.items() if number != before[name]}

    def scenario(self, name: str) -> None:
        self.broker.scenario(name, self.user)

    @contextmanager
    def twin(
        self, *, same_settings: bool, environment: Mapping[str, str] = {}, files: Mapping[str, str] = {}
    ) -> Iterator[Container]:
        """One more container as this one is, on its way out, not started; its settings are the same volume or its own.
        `files`: by their paths, what it has instead of this one's."""
        own = self.container
        host = own.attrs["HostConfig"]
        variables = dict(entry.split("=", 1) for entry in own.attrs["Config"]["Env"])
        made = self.client.containers.create(
            own.attrs["Image"],
            own.attrs["Config"]["Cmd"],
            environment=variables | dict(environment),
            volumes=host["Binds"] if same_settings else [],
            network=self._egress,
            cap_drop=host["CapDrop"],
            security_opt=host["SecurityOpt"],
            restart_policy=host["RestartPolicy"],
            labels={SANDBOX_LABEL: self._prefix},
            name=f"{self.name}-twin",
        )
        try:
            for path in (SECRETS, str(PurePosixPath(VALUES_PATH).parent)):
                archive, _ = own.get_archive(path)
                made.put_archive(str(PurePosixPath(path).parent), b"".join(archive))
            # On the volume it lies already.
            supervisor = {} if same_settings else {SUPERVISOR_PATH: self.text_of(SUPERVISOR_PATH)}
            made.put_archive("/", packed({**supervisor, **files}, mode=0o555))
            yield made
        finally:
            made.remove(force=True, v=True)

    def text_of(self, path: str) -> str:
        """A file of the container, running or not."""
        archive, _ = self.container.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as files:
            file = files.extractfile(PurePosixPath(path).name)
            assert file is not None
            return file.read().decode()


def packed(files: Mapping[str, str], *, mode: int) -> bytes:
    """An archive of files that belong to the image's user."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        if SUPERVISOR_PATH in files:
            for folder in (SETTINGS_PATH, str(PurePosixPath(SUPERVISOR_PATH).parent)):
                entry = tarfile.TarInfo(folder.lstrip("/"))
                entry.type, entry.uid, entry.gid, entry.mode = tarfile.DIRTYPE, UID, UID, 0o755
                archive.addfile(entry)
        for path, text in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.uid, entry.gid, entry.mode = len(text.encode()), UID, UID, mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()
