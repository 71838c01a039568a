"""`ibgw screen`: the windows that a gateway shows, and a picture of them for its owner's eyes alone."""

from pathlib import Path

from deployment.description import Deployment, Gateway
from deployment.errors import ExitCode, IbgwError
from deployment.paths import writable_again
from healthcheck.credential_files import redactor_of
from healthcheck.docker_host import DockerHost, docker_errors
from healthcheck.report import Model
from healthcheck.screen.display import ScreenError
from healthcheck.screen.look import Shows, look, png, shows
from healthcheck.screen_run import keep, screen_of
from healthcheck.text import Text
from operations.answers import Answer
from operations.formats import columns
from operations.forward import require_running


class SeenWindow(Model):
    """Its left upper corner and its size, in pixels. `pictured`: it is in the picture; else it is black there."""

    title: Text
    shows: Shows
    pictured: bool
    x: int
    y: int
    width: int
    height: int


class ScreenAnswer(Answer):
    """What a gateway's screen shows. `windows`: the lowest first. `picture`: the file, a PNG."""

    stack: str
    gateway: str
    width: int
    height: int
    windows: tuple[SeenWindow, ...]
    picture: str

    def human(self, width: int | None = None) -> str:
        rows = [
            (window.title or "(untitled)", f"{window.width} x {window.height}", f"{window.x}, {window.y}", _why(window))
            for window in reversed(self.windows)
        ]
        shown = columns(
            ("WINDOW, TOPMOST FIRST", "SIZE", "AT", "IN THE PICTURE"), rows, width=width, dispensable=("AT",)
        )
        return "\n".join([shown if rows else "No window is shown.", f"Picture: {self.picture}"])


_WHY = {
    Shows.LOGIN: "black: it may be the login form",
    Shows.ACCOUNT: "black: it may show an account (--show-accounts)",
}


def _why(window: SeenWindow) -> str:
    return "shown" if window.pictured else _WHY[window.shows]


def take(
    docker: DockerHost, deployment: Deployment, gateway: Gateway, file: Path, *, show_accounts: bool
) -> ScreenAnswer:
    """Looks, and writes the picture, which only its owner may read. Raises IbgwError."""
    require_running(docker, deployment, gateway)
    where = f"--stack {deployment.stack} --gateway {gateway.name}"
    with docker_errors(f"Container {gateway.container.name} on {docker.url}", "try again"):
        redactor = redactor_of(docker, gateway, show_accounts=show_accounts)
        try:
            with screen_of(docker, gateway.container.id) as screen:
                seen = look(screen, accounts=show_accounts)
        except ScreenError as error:
            raise IbgwError(
                f"The gateway {gateway.container.name} shows no screen: {redactor.text(str(error))}. Its display is "
                f"there once its program is started: `ibgw status {where}` says how it is.",
                exit_code=ExitCode.COULD_NOT_RUN,
            ) from None
    try:
        keep(png(seen.picture), file)
    except OSError as error:
        raise IbgwError(
            f"{file}: {error.strerror}, so the picture is not kept; {writable_again(error)}.",
            exit_code=ExitCode.COULD_NOT_RUN,
        ) from None
    return ScreenAnswer(
        stack=deployment.stack,
        gateway=gateway.name,
        width=seen.picture.width,
        height=seen.picture.height,
        windows=tuple(
            SeenWindow(
                title=redactor.text(window.title),
                shows=shows(window.title),
                pictured=window in seen.pictured,
                x=window.area.x,
                y=window.area.y,
                width=window.area.width,
                height=window.area.height,
            )
            for window in seen.windows
        ),
        picture=str(file),
    )
