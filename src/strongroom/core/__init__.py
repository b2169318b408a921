"""What runs the vault: seal, barrier, router, pipeline, tokens, leases, mounts. It names no plug-in."""
