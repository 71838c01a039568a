"""What makes Pulumi's engine write credentials in plain text, and the files that it has left.

`python -m operations.engine_debugging` is for continuous integration: it ends with 7, and says why, where one of the
switches is set. Every flag of the engine's can be set by a variable PULUMI_OPTION_<FLAG>, so variables are all there is
to look at.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from deployment.errors import ExitCode

SWITCH = re.compile(
    # The engine's flags, the messages between it and its plug-ins, and where its logs and traces are sent.
    r"PULUMI_(OPTION_(VERBOSE|LOGTOSTDERR|LOGFLOW|TRACING|OTEL_TRACES|EVENT_LOG|DEBUG|SHOW_SECRETS)"
    r"|DEBUG_GRPC|LOG_OTLP_ENDPOINT|OTEL_EXPORTER_OTLP_ENDPOINT)"
    # Of the providers, which are bridged from Terraform, and of gRPC; and the keys to read what goes over TLS.
    r"|TF_LOG\w*|GRPC_TRACE|SSLKEYLOGFILE"
)
"""What was seen to write them (3.256: VERBOSE from 9 on, TRACING, DEBUG_GRPC), and what shows the same data."""

HTTP2 = "http2debug"
"""In GODEBUG: every frame between the engine and its plug-ins, with what is in it (golang.org/x/net/http2)."""

LEFT = re.compile(r"pulumi[\w.-]*\.(log\.)?(INFO|WARNING|ERROR|FATAL)(\.\d{8}-\d{6}\.\d+)?")
"""The engine's and its plug-ins' logs in the temporary folder (golang/glog: `<program>.<host>.<user>.log.<severity>.
<date>-<time>.<pid>`, and a link `<program>.<severity>` to the newest)."""


def switches(environ: Mapping[str, str]) -> list[str]:
    """The names of those that are set."""
    return sorted(
        name
        for name, value in environ.items()
        if value and (SWITCH.fullmatch(name) or (name == "GODEBUG" and HTTP2 in value))
    )


def files(environ: Mapping[str, str]) -> list[Path]:
    """Those that the engine has written for debugging, as far as this environment tells where."""
    folder = Path(environ.get("TMPDIR") or "/tmp")
    named = (environ[name].removeprefix("file:") for name in switches(environ))
    left = [path for path in folder.glob("pulumi*") if LEFT.fullmatch(path.name)] if folder.is_dir() else []
    return sorted({*left, *(Path(name) for name in named if name.startswith("/") and Path(name).is_file())})


def main() -> int:
    named = switches(os.environ)
    if not named:
        return ExitCode.OK
    sys.stderr.write(
        f"{', '.join(named)}: set here, and may make Pulumi's engine write credentials in plain text, into a file or "
        "into this job's log. Expected not to be set: unset it; debug only where no credential is real\n"
    )
    return ExitCode.REFUSED


if __name__ == "__main__":
    sys.exit(main())
