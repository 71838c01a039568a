"""What we take of docker-py, loaded without paramiko.

docker-py imports paramiko for whatever it connects to, which is half of its own loading time, and uses it only for an
ssh of its own. Ours is the operator's `ssh` (healthcheck.docker_connections).
"""

import sys
from types import ModuleType

STAND_IN = ModuleType("paramiko")

# Without a module of the name docker-py leaves its classes for ssh out.
sys.modules.setdefault(STAND_IN.__name__, STAND_IN)
try:
    from docker import APIClient, errors
    from docker.constants import DEFAULT_DOCKER_API_VERSION
    from docker.transport import SSHHTTPAdapter, UnixHTTPAdapter, sshconn
    from docker.types import LogConfig
    from docker.utils import parse_host
finally:
    if sys.modules[STAND_IN.__name__] is STAND_IN:
        del sys.modules[STAND_IN.__name__]

__all__ = [
    "DEFAULT_DOCKER_API_VERSION",
    "APIClient",
    "LogConfig",
    "SSHHTTPAdapter",
    "UnixHTTPAdapter",
    "errors",
    "parse_host",
    "sshconn",
]
