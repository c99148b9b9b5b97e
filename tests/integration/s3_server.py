"""A real S3 server on loopback (moto) for tests of buckets, in a process of its own.

It checks signatures with botocore's own signer and rights with IAM policies. Run as a program it
prints one line of JSON: the port, and the access keys that it made.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from obstore.store import S3Store

BUCKET = "archive"
_SETUP_CALLS = 11


class Keys(msgspec.Struct, frozen=True):
    """An access key."""

    key_id: str
    secret: str


class S3Server(msgspec.Struct, frozen=True):
    """Where it listens, and who may do what: `all`, `put` only objects, `none` at all."""

    port: int
    keys: dict[str, Keys]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def look(self) -> S3Store:
        """The bucket, as another client sees it."""
        keys = self.keys["all"]
        return S3Store(
            BUCKET, endpoint=self.url, region="us-east-1", access_key_id=keys.key_id,
            secret_access_key=keys.secret, client_options={"allow_http": True},
        )  # fmt: skip

    def objects(self) -> dict[str, bytes]:
        """Everything in the bucket."""
        store = self.look()
        listed = [one["path"] for page in store.list() for one in page]
        return {path: bytes(store.get(path).bytes()) for path in listed}


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Give a server with an empty bucket."""
    process = subprocess.Popen(
        [sys.executable, "-B", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield msgspec.json.decode(process.stdout.readline(), type=S3Server)
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _main() -> None:
    """Serve until whoever asked for it is gone."""
    # So many calls are let through before rights and signatures count.
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = str(_SETUP_CALLS)
    import boto3
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    made = {
        "region_name": "us-east-1", "endpoint_url": f"http://127.0.0.1:{port}",
        "aws_access_key_id": "setup", "aws_secret_access_key": "setup",
    }  # fmt: skip
    boto3.client("s3", **made).create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **made)
    rights = {"all": ["s3:*"], "put": ["s3:PutObject"], "none": ["s3:ListAllMyBuckets"]}
    keys = {}
    for user, actions in rights.items():
        iam.create_user(UserName=user)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=user, PolicyName="may", PolicyDocument=document)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        keys[user] = {"key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    iam.list_users()  # the last call that is let through
    print(json.dumps({"port": port, "keys": keys}), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _main()
