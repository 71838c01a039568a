"""The Pulumi CLI, its Python language host and the `docker` and `aws` plug-ins: the official ones where they are or can
be installed, else the engine built from its Go modules and the stand-ins of `sandbox.plugins`."""

from sandbox.toolchain.install import (
    VARIABLE,
    Toolchain,
    default_cache,
    ensure,
    ensure_actionlint,
    enter_plugins,
    search_path,
)

__all__ = ["VARIABLE", "Toolchain", "default_cache", "ensure", "ensure_actionlint", "enter_plugins", "search_path"]
