"""The command line: Vault's everyday commands over the client. See docs/cli.md."""
