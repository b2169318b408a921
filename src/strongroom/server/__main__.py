"""``python -m strongroom.server``: the server without the command line's other commands."""

import argparse
import os
import sys

from strongroom.errors import VaultError
from strongroom.server.config_check import check_config
from strongroom.server.run import DEV_LISTEN, run_dev, serve, serve_development


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m strongroom.server")
    parser.add_argument("--config", action="append", default=[], help="a file or folder; may be repeated")
    parser.add_argument("--check-config", action="store_true", help="say what is wrong with the configuration, and end")
    parser.add_argument("--dev", action="store_true", help="a server that keeps nothing")
    parser.add_argument("--dev-root-token-id", default=os.environ.get("VAULT_DEV_ROOT_TOKEN_ID", ""))
    parser.add_argument("--dev-listen-address", default=os.environ.get("VAULT_DEV_LISTEN_ADDRESS", DEV_LISTEN))
    parser.add_argument("--dev-tls", action="store_true")
    parser.add_argument("--dev-tls-cert-dir", default="")
    parser.add_argument("--development", metavar="FOLDER", help="a server that keeps data and share in this folder")
    parser.add_argument("--listen", default=DEV_LISTEN, help="address for --development")
    args = parser.parse_args()
    try:
        if args.check_config:
            problems = [problem for path in args.config for problem in check_config(path)]
            sys.stderr.writelines(f"{problem}\n" for problem in problems)
            return int(any(not problem.startswith("warning: ") for problem in problems))
        if args.development:
            return serve_development(args.development, args.listen)
        if args.dev:
            return run_dev(
                root_token_id=args.dev_root_token_id,
                listen_address=args.dev_listen_address,
                tls=args.dev_tls,
                tls_cert_dir=args.dev_tls_cert_dir,
                config_paths=args.config,
            )
        return serve(args.config)
    except VaultError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
