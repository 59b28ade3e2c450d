"""Start the embedded AWS: ``python -m localaws --port 4566 --data-dir var/localaws``."""

import argparse
import logging
import os
import sys
from pathlib import Path

from localaws import ACCOUNT_ID, __version__


def arg_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m localaws",
        description="An embedded AWS for development and tests: S3, EMR and STS on one port. EMR steps "
        "run as processes of this machine and user. It checks no signature and knows no permission: "
        "never put anything real in it, never let others reach it.",
        epilog="Use it with AWS_ENDPOINT_URL=http://127.0.0.1:4566 and any credentials. Not kept over a "
        "restart: open multipart uploads, object versions, bucket policies and settings. Read from the "
        "environment: LOCALAWS_SPARK_MASTER (local[2]), LOCALAWS_SPARK_DRIVER_MEMORY (2g), "
        "LOCALAWS_START_SECONDS and LOCALAWS_BOOT_SECONDS (0.3), LOCALAWS_LOG_SECONDS (5), "
        "LOCALAWS_KILL_GRACE_SECONDS (5), LOCALAWS_FAULTS (a JSON list of faults to begin with; more at "
        "/_localaws/faults, see localaws/fault_rules.py).",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=4566, help="port; 0 takes a free one (%(default)s)"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("var/localaws"),
        help="where everything is kept (%(default)s)",
    )
    parser.add_argument(
        "--bucket", action="append", default=[], metavar="NAME", help="create if absent; repeatable"
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="listen beyond loopback: whoever reaches the port can run any program as this user. "
        "For a container network only",
    )
    parser.add_argument("--verbose", action="store_true", help="write an access log")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the server; exit code 0 after SIGTERM or SIGINT."""
    parser = arg_parser()
    args = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="localaws: %(levelname)s %(message)s"
    )
    # One account: credentials are not told apart, so nobody's buckets hide from anybody.
    os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT_ID
    # Imported here: moto takes a second, --help and a wrong argument should not.
    from localaws.fault_rules import parse
    from localaws.s3_store import DataDirectoryError
    from localaws.server import LocalAws, is_loopback, serve_until_signal

    if not args.allow_remote and not is_loopback(args.host):
        parser.error(
            f"expected a loopback --host, found {args.host}: steps run any program as this user, for "
            "whoever reaches the port. Inside a container network pass --allow-remote"
        )
    try:
        faults = parse(os.environ.get("LOCALAWS_FAULTS") or "[]")
        aws = LocalAws(
            args.host, args.port, args.data_dir, args.bucket, faults=faults, verbose=args.verbose
        )
    except (DataDirectoryError, OSError, ValueError) as error:
        sys.stderr.write(f"localaws: {error}\n")
        return 1
    sys.stderr.write(
        f"localaws {__version__}: development double of AWS (S3, EMR, STS) on {aws.endpoint_url}, "
        f"data in {args.data_dir}; not for production\n"
    )
    sys.stderr.flush()
    serve_until_signal(aws)
    return 0


if __name__ == "__main__":
    sys.exit(main())
