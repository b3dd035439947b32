"""Who asks a store, and where it is: options, keys, accounts and endpoints of S3 and Cloud Storage."""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from obstore.store import GCSStore, S3Store

from molino.caches import in_home
from molino.transforms.errors import DataError, OptionError

# A store that throttles or restarts is asked again for half a minute, with pauses of up to 5 seconds; a runner repeats
# the bundle after that. Where there is no server or no account, so long is what a user waits for the error; obstore's
# own limit is three minutes.
RETRY: Any = {
    "max_retries": 100,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 3},
}
# A request may be long, for it may be of a large range; what must not be is that nothing comes.
PATIENCE: Any = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "30m"}
VARIABLE = "MOLINO_S3_OPTIONS"
S3_OPTIONS = ("access_key_id", "secret_access_key", "session_token", "endpoint_url", "region_name", "verify")
S3_KEYS = "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --s3_access_key_id and --s3_secret_access_key"
# kinds of a file with a Google account that obstore reads by itself
PLAIN_ACCOUNTS = ("service_account", "authorized_user")
_given: dict[str, str] | None = None


def use_options(flags: Sequence[str]) -> None:
    """Take the options of S3 from a command line, and pass over others; OptionError where one lacks its value."""
    global _given
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in S3_OPTIONS:
        parser.add_argument(f"--s3_{name}")
    parser.add_argument("--s3_disable_ssl", action="store_const", const="yes")
    try:
        given, _ = parser.parse_known_args(list(flags))
    except argparse.ArgumentError as error:
        raise OptionError(str(error)) from None
    _given = {name: value for name, value in vars(given).items() if value}
    # the embedded runner tells the processes that it starts no options: they have this process's variables
    os.environ[VARIABLE] = json.dumps(_given)


def known_options() -> Mapping[str, str]:
    """Return the options of S3: those of the command line, or on a worker those that Beam or the variable tells."""
    if _given is not None:
        return _given
    inherited = json.loads(os.environ.get(VARIABLE, "{}"))
    systems = sys.modules.get("apache_beam.io.filesystems")
    beam = systems and systems.FileSystems._pipeline_options
    if not beam:
        return inherited
    view = beam.view_as(sys.modules["apache_beam.options.pipeline_options"].S3Options)
    names = (f"s3_{name}" for name in (*S3_OPTIONS, "disable_ssl"))
    return inherited | {name: str(value) for name in names if (value := getattr(view, name, None))}


def connect_s3(bucket: str, options: Mapping[str, str]) -> Any:
    known = os.environ
    endpoint = options.get("s3_endpoint_url") or known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL") or ""
    region = options.get("s3_region_name")
    config: dict[str, Any] = {"region": region} if region else {}
    patience: Any = {**PATIENCE, "allow_http": endpoint.startswith("http://")}
    if options.get("s3_disable_ssl") and not endpoint:
        region = region or known.get("AWS_DEFAULT_REGION") or known.get("AWS_REGION") or "us-east-1"
        endpoint, patience["allow_http"] = f"http://s3.{region}.amazonaws.com", True
    if endpoint:
        config["aws_endpoint_url_s3"] = endpoint.rstrip("/")  # it wins over the variables
    verify = options.get("s3_verify") or known.get("AWS_CA_BUNDLE") or ""
    if verify.lower() in ("false", "0", "no"):
        patience["allow_invalid_certificates"] = True
    elif verify and verify.lower() not in ("true", "1", "yes"):
        with open(verify, "rb") as file:
            patience["root_certificate"] = file.read()
    if "s3_access_key_id" in options:
        keys: Any = {"access_key_id": options["s3_access_key_id"], "token": options.get("s3_session_token")}
        keys["secret_access_key"] = options.get("s3_secret_access_key", "")
        config["credential_provider"] = lambda: {**keys, "expires_at": None}
    elif not known.get("AWS_ACCESS_KEY_ID") and (provider := find_profile()):
        config["credential_provider"] = provider
    return S3Store(bucket, client_options=patience, retry_config=RETRY, **config)


def find_profile() -> Any:
    """Return boto3's reader of ~/.aws, None where there is nothing to read; DataError where it is not installed."""
    known = os.environ
    profile = known.get("AWS_PROFILE") or known.get("AWS_DEFAULT_PROFILE")
    keys = known.get("AWS_SHARED_CREDENTIALS_FILE") or in_home(".aws", "credentials")
    config = known.get("AWS_CONFIG_FILE") or in_home(".aws", "config")
    if not profile and not os.path.exists(keys) and not os.path.exists(config):
        return None
    if importlib.util.find_spec("boto3"):
        from obstore.auth.boto3 import Boto3CredentialProvider

        return Boto3CredentialProvider()
    role = any(name.startswith(("AWS_WEB_IDENTITY", "AWS_CONTAINER_CREDENTIALS")) for name in known)
    if profile or (os.path.exists(keys) and not role):
        what = f"the profile {profile}" if profile else f"the keys in {keys}"
        raise DataError(f"{what} is read by boto3: pip install -r requirements/aws.txt; or {S3_KEYS}")
    return None


def connect_gs(bucket: str, _: Mapping[str, str]) -> Any:
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/"):
        url = emulator if "://" in emulator else f"http://{emulator}"
        # an account that needs no token: without one the client looks for the machine's, whatever else it is told
        nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        return GCSStore(
            bucket,
            service_account_key=json.dumps({"gcs_base_url": url, "disable_oauth": True, **nobody}),
            client_options=PATIENCE | {"allow_http": True},
            retry_config=RETRY,
        )
    config: dict[str, Any] = {}
    gcloud = os.environ.get("CLOUDSDK_CONFIG") or in_home(".config", "gcloud")
    default = gcloud and f"{gcloud}/application_default_credentials.json"
    account = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or default
    if os.path.exists(account):
        with open(account, "rb") as file:
            kind = json.load(file).get("type")
        config = {"application_credentials": account} if kind in PLAIN_ACCOUNTS else read_federated(account, kind)
    elif os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        raise DataError(f"there is no file {account}, which GOOGLE_APPLICATION_CREDENTIALS names")
    return GCSStore(bucket, client_options=PATIENCE, retry_config=RETRY, **config)


def read_federated(account: str, kind: str) -> dict[str, Any]:
    """Return the account of a file that only Google's own library reads, such as one of another provider."""
    try:
        import google.auth
        from obstore.auth.google import GoogleCredentialProvider
    except ImportError:
        what = f"{account} has an account of the kind {kind}"
        raise DataError(f"{what}, which needs: pip install -r requirements/dataflow.txt") from None
    scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
    return {"credential_provider": GoogleCredentialProvider(google.auth.default(scopes=scopes)[0])}
