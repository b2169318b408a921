"""The policies every vault is born with. ``root`` has no text: it is a property of a token."""

DEFAULT_POLICY = """\
# The policy "default": what nearly every token may do to itself. It may be changed, not deleted.

# Its own token: look at it, keep it alive, end it.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# What may I do? The second is asked by user interfaces.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Its own entity, when it has one.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}

path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# Leases, by knowing their id. "sys/renew" is the older path.
path "sys/renew" {
  capabilities = ["update"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
}

path "sys/leases/lookup" {
  capabilities = ["update"]
}

# Its own cubbyhole.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Wrapping: put something into a wrapping token, see what one is, open one.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}

path "sys/wrapping/lookup" {
  capabilities = ["update"]
}

path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Tools that need no secret.
path "sys/tools/hash" {
  capabilities = ["update"]
}

path "sys/tools/hash/*" {
  capabilities = ["update"]
}

# The state of one's own control group request.
path "sys/control-group/request" {
  capabilities = ["update"]
}

# Signing in to a third party by an OpenID Connect provider of this vault.
path "identity/oidc/provider/+/authorize" {
  capabilities = ["read", "update"]
}
"""

RESPONSE_WRAPPING_POLICY = """\
# What the holder of a wrapping token may do: open it, once.
path "cubbyhole/response" {
  capabilities = ["create", "read"]
}

path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
"""

BUILT_IN_POLICIES = {"default": DEFAULT_POLICY, "response-wrapping": RESPONSE_WRAPPING_POLICY}
