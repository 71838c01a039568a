"""Declared resources -> the stack's only output, `contract` (deployment.description describes it)."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi

from deployment import description
from deployment.names import Role
from deployment.properties import declared, facts_of_inputs
from deployment.tables import CONTAINER
from infra.credentials import Credentials
from infra.failure import failed
from infra.monitoring import MonitoringSpec
from infra.spec import GatewaySpec, HostSpec, StackSpec


def image_digest(reference: str, repo_digest: str) -> str:
    """The digest of the image that `reference` asks for: its own, or the provider's if that is of the same repository.

    The provider compares names up to the first `:` only, and takes the first digest where none fits
    (terraform-provider-docker, determineRepoDigest). Raises RunError where the digest is another repository's.
    """
    repository, at, digest = reference.partition("@")
    if at:
        return digest
    known_as, _, digest = repo_digest.partition("@")
    if not digest or _plain(known_as) != _plain(_without_tag(repository)):
        known = f"Docker knows it as {repo_digest}" if repo_digest else "Docker knows none"
        expected = f"{_without_tag(repository)}@sha256:..."
        raise failed(
            f"ibgw:image {reference}: its digest is not known: {known}, expected {expected}; no gateway was touched. "
            f"Name the image by its digest, {expected}, which `docker pull {reference}` prints"
        )
    return digest


def _without_tag(name: str) -> str:
    host, slash, last = name.rpartition("/")
    return f"{host}{slash}{last.partition(':')[0]}"


def _plain(repository: str) -> str:
    """Docker leaves its own hub out of the names that it gives."""
    return repository.removeprefix("index.").removeprefix("docker.io/").removeprefix("library/")


def describe_gateway(
    spec: StackSpec, gateway: GatewaySpec, version_id: str, container_id: str, digest: str, codes_id: str | None = None
) -> description.Gateway:
    settings = gateway.settings
    offline = settings.session.offline
    ports = description.PORTS[spec.mode]
    facts = facts_of_inputs(CONTAINER, declared(CONTAINER, gateway.container))
    return description.Gateway(
        name=gateway.name,
        mode=spec.mode,
        account_kind=spec.mode,
        expected_accounts=settings.account.expected,
        read_only=settings.api.read_only,
        container=description.Container(name=gateway.container.name, id=container_id),
        api=description.Api(
            network=gateway.api_network.name,
            host=gateway.container.name,
            port=ports.client,
            inner_port=ports.inner,
        ),
        clients=tuple(client.target() for client in settings.clients),
        volumes=description.Volumes(
            settings=gateway.volumes[Role.SETTINGS].name,
            logs=gateway.volumes[Role.LOGS].name if Role.LOGS in gateway.volumes else None,
        ),
        image=description.Image(reference=spec.image or "", digest=digest),
        in_place=description.InPlace.model_validate(
            {field: facts[field] for field in description.InPlace.model_fields}
        ),
        secret=description.Secret(id=gateway.secret.id, version_id=version_id),
        schedule=description.Schedule(
            time_zone=settings.session.time_zone,
            auto_restart=settings.session.auto_restart,
            auto_logoff=settings.session.auto_logoff,
            cold_restart=settings.session.cold_restart,
            offline=offline and description.Offline(**offline.model_dump(by_alias=True)),
        ),
        second_factor=settings.second_factor.method,
        codes=description.Container(name=gateway.containers[Role.CODES].name, id=codes_id) if codes_id else None,
        checks=description.Checks(
            market_data=description.MarketDataCheck(
                level=settings.checks.market_data.level,
                contract=settings.checks.market_data.contract.named(),
            ),
            account_access=description.AccountAccessCheck(level=settings.checks.account_access.level),
            order_capability=description.OrderCapabilityCheck(level=gateway.order_level),
        ),
    )


def describe_monitoring(spec: MonitoringSpec, ids: Mapping[str, str]) -> description.Monitoring:
    containers = {
        role: description.Container(name=container.name, id=ids[role]) for role, container in spec.containers.items()
    }
    return description.Monitoring(
        prober=containers[Role.PROBER],
        watcher=containers[Role.WATCHER],
        network=spec.networks[Role.MONITORING].name,
        heartbeat=spec.heartbeat is not None,
    )


NOBODY = "0" * 64


def watched_entry(spec: StackSpec, gateway: GatewaySpec) -> str:
    """A gateway's entry of the contract as the prober is told it: without `secret`, which is none of its business, and
    with nothing that changes with a container or an image, since that would replace the prober."""
    entry = describe_gateway(spec, gateway, "", NOBODY, f"sha256:{NOBODY}")
    return json.dumps(entry.model_dump(mode="json", by_alias=True, exclude={"secret"}), sort_keys=True)


def assemble(
    spec: StackSpec,
    host: HostSpec,
    *,
    credentials: Mapping[str, Credentials],
    container_ids: Mapping[str, pulumi.Output[str]],
    codes_ids: Mapping[str, pulumi.Output[str]],
    digest: pulumi.Output[str],
    verifier_image_id: pulumi.Output[str],
    monitoring_ids: Mapping[Role, pulumi.Output[str]] | None = None,
) -> pulumi.Output[dict[str, Any]]:
    """The contract as plain JSON data, as current as the resources that its values come from."""
    versions = {name: secret.version_id for name, secret in credentials.items()}

    def build(known: Mapping[str, Any]) -> dict[str, Any]:
        contract = description.Deployment(
            project=spec.project,
            stack=spec.stack,
            mode=spec.mode,
            name_prefix=spec.names.prefix,
            docker_host=host.docker_host,
            release=spec.release,
            verifier=description.Verifier(image_id=known["verifier"]),
            egress_network=host.egress.name,
            accepted=spec.accepted,
            monitoring=host.monitoring and describe_monitoring(host.monitoring, known["monitoring"]),
            gateways={
                name: describe_gateway(
                    spec,
                    gateway,
                    versions[name],
                    known["containers"][name],
                    known["digest"],
                    known["codes"].get(name),
                )
                for name, gateway in host.gateways.items()
            },
        )
        return contract.model_dump(mode="json", by_alias=True)

    return pulumi.Output.all(
        containers=pulumi.Output.all(**container_ids),
        codes=pulumi.Output.from_input(dict(codes_ids)),
        digest=digest,
        verifier=verifier_image_id,
        monitoring=pulumi.Output.all(**{role.value: of for role, of in (monitoring_ids or {}).items()}),
    ).apply(build)
