"""What a gateway's component tells whoever reads a preview: settings, the secret's version, ibgw's; nothing secret."""

import json

from deployment import VERSION
from tests.stack.conftest import PASSWORD, USER, Program


def test_a_gateway_tells_its_settings_and_its_secrets_version_and_no_secret(program: Program) -> None:
    engine = program.run().engine
    [gateway] = [found for found in engine.resources if found.type == "ibgw:gateway:Gateway"]
    assert gateway.secret == set()
    assert gateway.inputs["secretVersion"] == "11111111-2222-3333-4444-555555555555"
    assert gateway.inputs["settings"]["session"]["timeZone"] == "America/New_York"
    assert gateway.inputs["settings"]["credentials"]["secretId"] == "ibgw/paper/main"
    assert gateway.inputs["version"] == VERSION
    told = json.dumps(gateway.inputs)
    assert USER not in told
    assert PASSWORD not in told
