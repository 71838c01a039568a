"""`aws:s3/bucket:Bucket`, and what is set of a bucket: versioning, encryption, public access, policy."""

from collections.abc import Callable

from sandbox.plugins.aws.kinds import Client, Kind, names
from sandbox.plugins.provider import State
from sandbox.plugins.values import Properties

_NOT_SET = {
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchBucketPolicy",
}
_PUBLIC = ("blockPublicAcls", "ignorePublicAcls", "blockPublicPolicy", "restrictPublicBuckets")


def _create_bucket(client: Client, inputs: Properties) -> str:
    # S3 takes no location for its oldest region (API reference, CreateBucket).
    place = client.meta.region_name
    where = {} if place == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": place}}
    client.create_bucket(Bucket=inputs["bucket"], **where)
    return str(inputs["bucket"])


def _read_bucket(client: Client, bucket: str) -> Properties | None:
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "404":
            return None
        raise
    return {"bucket": bucket, "arn": f"arn:aws:s3:::{bucket}", "region": client.meta.region_name}


def _delete_bucket(client: Client, state: State) -> None:
    client.delete_bucket(Bucket=state.id)


def _nothing(client: Client, bucket: str, inputs: Properties) -> None:
    """A bucket itself has nothing that changes."""


BUCKET = Kind(
    "s3",
    replacing=names("bucket"),
    in_place=frozenset(),
    outputs=names("arn region"),
    create=_create_bucket,
    put=_nothing,
    read=_read_bucket,
    delete=_delete_bucket,
)


def _of_a_bucket(
    inputs: str,
    put: Callable[[Client, str, Properties], None],
    get: Callable[[Client, str], Properties],
    delete: Callable[[Client, str], None],
) -> Kind:
    """What is set of a bucket: its id is the bucket's name, and S3 says by an error that it is not set."""

    def create(client: Client, given: Properties) -> str:
        put(client, given["bucket"], given)
        return str(given["bucket"])

    def read(client: Client, bucket: str) -> Properties | None:
        from botocore.exceptions import ClientError

        try:
            return {"bucket": bucket, **get(client, bucket)}
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_SET | {"NoSuchBucket"}:
                return None
            raise

    return Kind(
        "s3",
        replacing=names("bucket"),
        in_place=names(inputs),
        outputs=frozenset(),
        create=create,
        put=put,
        read=read,
        delete=lambda client, state: delete(client, state.id),
    )


def _put_versioning(client: Client, bucket: str, inputs: Properties) -> None:
    status = inputs["versioningConfiguration"]["status"]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def _get_versioning(client: Client, bucket: str) -> Properties:
    status = client.get_bucket_versioning(Bucket=bucket).get("Status", "Disabled")
    return {"versioningConfiguration": {"status": status}}


def _suspend_versioning(client: Client, bucket: str) -> None:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


def _put_encryption(client: Client, bucket: str, inputs: Properties) -> None:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"]
            }
        }
        for rule in inputs["rules"]
    ]
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _get_encryption(client: Client, bucket: str) -> Properties:
    found = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    algorithms = [rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in found]
    return {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": name}} for name in algorithms]}


def _put_public_access(client: Client, bucket: str, inputs: Properties) -> None:
    block = {name[0].upper() + name[1:]: bool(inputs.get(name)) for name in _PUBLIC}
    client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)


def _get_public_access(client: Client, bucket: str) -> Properties:
    found = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    return {name: found[name[0].upper() + name[1:]] for name in _PUBLIC}


def _put_policy(client: Client, bucket: str, inputs: Properties) -> None:
    client.put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])


def _get_policy(client: Client, bucket: str) -> Properties:
    return {"policy": client.get_bucket_policy(Bucket=bucket)["Policy"]}


VERSIONING = _of_a_bucket("versioningConfiguration", _put_versioning, _get_versioning, _suspend_versioning)
ENCRYPTION = _of_a_bucket(
    "rules", _put_encryption, _get_encryption, lambda client, bucket: client.delete_bucket_encryption(Bucket=bucket)
)
PUBLIC_ACCESS = _of_a_bucket(
    " ".join(_PUBLIC),
    _put_public_access,
    _get_public_access,
    lambda client, bucket: client.delete_public_access_block(Bucket=bucket),
)
POLICY = _of_a_bucket(
    "policy", _put_policy, _get_policy, lambda client, bucket: client.delete_bucket_policy(Bucket=bucket)
)
