"""What AWS says when a secret cannot be read, and what the operator is told to do about it.

The texts are those of the Go SDK v2 and of the services themselves, as the provider passes them on.
"""

import re

import pytest

from deployment.errors import ExitCode
from infra.aws_errors import MEANINGS, explain
from infra.credentials import _DeniedError, _refusal
from tests.unit.commands import check_text

SECRET = "ibgw/kms-tests/main"  # noqa: S105 - an id, with a word in it that must not mislead
WHO = "User: arn:aws:sts::123456789012:assumed-role/kms-admin/me is not authorized to perform:"
OPERATION = (
    f"reading Secrets Manager Secret Version ({SECRET}|AWSCURRENT): operation error Secrets Manager: GetSecretValue"
)

ROWS = [
    (f"AccessDeniedException: {WHO} secretsmanager:GetSecretValue on resource: {SECRET} because no identity-based "
     "policy allows the action", "allow secretsmanager:GetSecretValue"),
    (f"AccessDeniedException: {WHO} secretsmanager:ListSecretVersionIds on resource: {SECRET}",
     "allow secretsmanager:ListSecretVersionIds"),
    (f"AccessDeniedException: {WHO} secretsmanager:PutSecretValue on resource: {SECRET}",
     "allow secretsmanager:PutSecretValue on it"),
    (f"AccessDeniedException: {WHO} secretsmanager:CreateSecret on resource: {SECRET}", "have an administrator"),
    ("AccessDeniedException: Access to KMS is not allowed", "allow kms:Decrypt on the secret's key"),
    (f"AccessDeniedException: {WHO} kms:Decrypt on resource: arn:aws:kms:eu-central-1:1:key/2 because no "
     "resource-based policy allows the action", "allow kms:Decrypt on arn:aws:kms:eu-central-1:1:key/2 for it"),
    ("AccessDeniedException: The ciphertext refers to a customer master key that does not exist, does not exist in "
     "this region, or you are not allowed to access.", "allow kms:Decrypt on the secret's key"),
    ("DecryptionFailure: Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
     "allow kms:Decrypt on the secret's key"),
    ("KMSInvalidStateException: the key is not enabled", "enable the secret's key"),
    ("AccessDeniedException: arn:aws:kms:eu-central-1:1:key/2 is disabled.", "enable arn:aws:kms:eu-central-1:1:key/2"),
    ("AccessDeniedException: arn:aws:kms:eu-central-1:1:key/2 is pending deletion.",
     "enable arn:aws:kms:eu-central-1:1:key/2"),
    (f"AccessDeniedException: {WHO} secretsmanager:GetSecretValue on resource: {SECRET} with an explicit deny in a "
     "service control policy", "a policy denies it outright"),
    (f"AccessDenied: {WHO} sts:AssumeRole on resource: arn:aws:iam::1:role/x", "allow sts:AssumeRole"),
    ("ResourceNotFoundException: Secrets Manager can't find the specified secret.",
     "make it with `ibgw credentials put`, or correct the id"),
    ("ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
     "put a value in with `ibgw credentials put`"),
    ("InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.",
     f"restore-secret --secret-id {SECRET}"),
    ("ResourceExistsException: A resource with the ID you requested already exists.", "try again"),
    ("LimitExceededException: You've exceeded the quota for the number of versions", "wait a day"),
    ("ProfileNotFound: The config profile (typo) could not be found", "names a profile that this machine"),
    ("NoRegionError: You must specify a region.", "set aws:region"),
    ("ReadTimeoutError: Read timeout on endpoint URL: \"https://x/\"", "cannot be reached from here"),
    ("InvalidRequestException: something else", f"describe-secret --secret-id {SECRET}"),
    ("ExpiredTokenException: The security token included in the request is expired", "the AWS session has expired"),
    ("get identity: get credentials: failed to refresh cached credentials, refresh cached SSO token failed",
     "the AWS session has expired"),
    ("UnrecognizedClientException: The security token included in the request is invalid",
     "does not know the access key"),
    ("InvalidClientTokenId: The security token included in the request is invalid.", "does not know the access key"),
    ("InvalidSignatureException: Signature expired: 20261120T010203Z is now earlier than", "this machine's clock"),
    ("SignatureDoesNotMatch: The request signature we calculated does not match", "the secret access key is wrong"),
    ("NoCredentialProviders: no valid providers in chain", "no AWS credentials were found"),
    ("failed to refresh cached credentials, no EC2 IMDS role found", "no AWS credentials were found"),
    ("Missing Region: failed to resolve; missing AWS region", "aws:region in the stack's file"),
    ("ThrottlingException: Rate exceeded", "try again in a minute"),
    ("InternalServiceError: An error occurred on the server side.", "try again in a minute"),
    ("request send failed, Post \"https://secretsmanager.eu.amazonaws.com/\": dial tcp: lookup x: no such host",
     "cannot be reached from here"),
    ("nothing that anybody knows", "did not answer as expected"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), ROWS)
def test_what_aws_says_leads_to_what_helps(said: str, expected: str) -> None:
    error = _refusal(SECRET, Exception(f"{OPERATION}, https response error StatusCode: 400, RequestID: 7, {said}"))
    text = str(error)
    assert expected in text
    assert error.exit_code is ExitCode.REFUSED
    assert "RequestID" not in text, "nothing of the provider's text is passed on"
    assert isinstance(error, _DeniedError) is ("AccessDenied" in said)
    assert all(command.startswith(("aws ", "ibgw credentials put")) for command in check_text(text))


def test_every_meaning_is_met() -> None:
    told = [explain(SECRET, f"{OPERATION}, {said}").todo for said, _ in ROWS]
    fixed = [re.split(r"\{\w+\}", row)[0] for _, row in MEANINGS]
    assert [text for text in fixed if not any(one is not None and one.startswith(text) for one in told)] == []


def test_writing_needs_more_of_the_key() -> None:
    said = "AccessDeniedException: Access to KMS is not allowed"
    todo = explain(SECRET, said, writes=True).todo or ""
    assert "allow kms:GenerateDataKey and kms:Decrypt on the secret's key" in todo
