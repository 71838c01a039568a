"""Makes the engine's protocol messages importable without the rest of the Pulumi SDK.

`import pulumi` loads the whole SDK, Automation API included (0.7 s of CPU on a small machine), and a preview starts
three processes that need nothing but the generated messages in `pulumi.runtime.proto`. Entering those packages as
empty namespaces skips every `__init__` on the way. Only for a plug-in's own process, and before anything imports
`pulumi`; elsewhere (tests) the full SDK is left as it is.
"""

import importlib.util
import sys
import types
from pathlib import Path

_PACKAGES = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")


def use_messages_only() -> None:
    """Enters the packages above the messages as empty namespaces, unless `pulumi` is imported already."""
    if "pulumi" in sys.modules:
        return
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package 'pulumi' is not installed in this environment", name="pulumi")
    site = Path(spec.origin).parent.parent
    for name in _PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [str(site.joinpath(*name.split(".")))]
        sys.modules[name] = package
