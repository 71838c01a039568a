"""What AWS says about a secret, and what the operator is to do about it: one table for program and command line.

Go's SDK, which the program hears, and Python's, which the command line uses, pass the services' codes and words on.
"""

import re
import shlex
from dataclasses import dataclass

_SIGN_IN = "sign in again (`aws sso login`, or new keys), and check it with `aws sts get-caller-identity`"
# What the engine raises is a bare Exception with the provider's text in it, so that AWS's codes and words can only be
# looked for there. First match counts: KMS speaks through Secrets Manager's AccessDeniedException too, and where a
# policy denies outright, allowing more beside it helps nothing. {id} is the secret's; {action}, {kms} and {key} are
# what is denied.
MEANINGS: tuple[tuple[str, str], ...] = (
    (r"KMSInvalidState|DisabledException|:kms:\S+ is (disabled|pending deletion)",
     "its KMS key is disabled or marked for deletion; enable {key}"),
    (r"AccessDenied.*(Access to KMS|perform: kms:|ciphertext refers to a)|(De|En)cryptionFailure",
     "its KMS key does not serve this identity; allow {kms} on {key} for it, in the key's own policy too"),
    (r"AccessDenied.*perform: sts:|AssumeRole.*AccessDenied",
     "the role cannot be assumed; allow sts:AssumeRole on it for this identity, in the role's trust policy too"),
    (r"AccessDenied.*explicit deny",
     "a policy denies it outright (the organisation's, a permissions boundary's, an endpoint's or the secret's own); "
     "change that policy"),
    (r"AccessDenied.*ListSecretVersionIds",
     "access denied; allow secretsmanager:ListSecretVersionIds on it for this identity, or, for one that deploys, "
     "secretsmanager:GetSecretValue"),
    (r"AccessDenied.*perform: secretsmanager:CreateSecret",
     "it is not there, and this identity may make none: the account's program makes it, under the mode's key "
     "(docs/account.md); have an administrator deploy it, or allow secretsmanager:CreateSecret"),
    (r"AccessDenied.*perform: (?!secretsmanager:GetSecretValue\b)",
     "access denied; allow {action} on it for this identity (for a role of the account's program: docs/account.md, "
     "\"Changing it\")"),
    (r"AccessDenied",
     "access denied; allow secretsmanager:GetSecretValue on it for this identity (to one that only previews, "
     "secretsmanager:ListSecretVersionIds is enough)"),
    (r"can't find the specified secret value",
     "it has no such version, or no value yet; correct credentials.versionId, or put a value in with `ibgw credentials "
     "put`"),
    (r"ResourceNotFoundException|couldn't find resource",
     "there is no such secret or version in this region; make it with `ibgw "
     "credentials put`, or correct the id or the region (aws:region)"),
    (r"InvalidRequestException.*marked (for deletion|deleted)",
     "it is marked for deletion; restore it: `aws secretsmanager restore-secret --secret-id {id}`"),
    (r"ResourceExistsException",
     "somebody else put a value in at the same moment; look at what it holds now and try again"),
    (r"LimitExceeded",
     "it has too many versions of the last day; wait a day"),
    (r"InvalidRequestException",
     "it is not readable now; see what state it is in: `aws secretsmanager describe-secret --secret-id {id}`"),
    (r"ExpiredToken|token( included in the request)? (is|has) expired|SSO\b.*(expired|invalid)|cached SSO token",
     f"the AWS session has expired; {_SIGN_IN}"),
    (r"RequestExpired|SignatureDoesNotMatch|InvalidSignature|RequestTimeTooSkewed",
     "AWS does not accept the request's signature: the secret access key is wrong, or this machine's clock; correct "
     "that"),
    (r"InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|security token\b.* invalid",
     f"AWS does not know the access key; {_SIGN_IN}"),
    (r"config profile .* could not be found",
     "AWS_PROFILE, or the stack's aws:profile, names a profile that this machine does not have; correct it"),
    (r"NoCredentialProviders|no valid credential|cached credentials|Unable to locate credentials|no EC2 IMDS role|"
     r"Partial credentials",
     f"no AWS credentials were found; set AWS_PROFILE, or {_SIGN_IN}"),
    (r"missing AWS region|MissingRegion|specify a region|invalid AWS region",
     "no AWS region is set; set aws:region in the stack's file, or AWS_REGION"),
    (r"Throttling|TooManyRequests|InternalService|ServiceUnavailable|StatusCode: 5\d\d",
     "Secrets Manager cannot answer now; try again in a minute"),
    (r"no such host|dial tcp|connection refused|i/o timeout|deadline exceeded|request send failed|Could not connect|"
     r"timeout on endpoint|Failed to connect to proxy|SSL validation failed|Connection was closed",
     "Secrets Manager cannot be reached from here; check the network, the region (AWS_REGION) and the proxy, if any"),
)  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """`todo` names what failed and what helps; None for what the table does not know. `denied`: not for this
    identity."""

    todo: str | None
    denied: bool


def explain(secret_id: str, said: str, *, writes: bool = False) -> Explained:
    """Nothing of `said` is passed on but the action and the resource that were denied. `writes`: a value was to be
    written, for which the secret's key needs more."""
    without_id = said.replace(secret_id, "")
    todo = next((row for pattern, row in MEANINGS if re.search(pattern, without_id, re.IGNORECASE | re.DOTALL)), None)
    action = re.search(r"perform: (\w+:\w+)", said)
    key = re.search(r"arn:[\w-]+:kms:[\w:/-]+", said)
    words = {
        "id": shlex.quote(secret_id),
        "action": action[1] if action else "",
        "kms": "kms:GenerateDataKey and kms:Decrypt" if writes else "kms:Decrypt",
        "key": key[0] if key else "the secret's key",
    }
    return Explained(todo and todo.format(**words), re.search("AccessDenied", said) is not None)
