"""Names: of the Secret a file becomes, of users, keys and namespaces, by the rules of Kubernetes.

Sources: kubernetes.io "Object Names and IDs"; apimachinery's ``validation.IsDNS1123Subdomain``, ``IsConfigMapKey``,
``IsQualifiedName`` and ``IsValidLabelValue``.
"""

import re

MAX_NAME = 253
MAX_LABEL = 63
_BEGIN, _END = re.compile(r"[a-z]"), re.compile(r"[a-z0-9]\Z")
_ODD = re.compile(r"[^-a-z0-9]")
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_NAME_PART = re.compile(r"[A-Za-z0-9](?:[-._A-Za-z0-9]*[A-Za-z0-9])?")


class BadName(ValueError):
    """A name that Kubernetes, or the mapping of files to names, does not take; the text says why."""


def secret_name(path: str) -> str:
    """The name of the Secret that the file ``path`` (relative to kvstore) becomes.

    The path in small letters must begin with a letter and end with a letter or digit; then each character but these
    and ``-`` becomes one ``-``: ``production/applicationB/postgresql`` -> ``production-applicationb-postgresql``.

    Raises:
        BadName: wrong begin or end, or longer than 253 characters.
    """
    small = path.lower()
    if not _BEGIN.match(small):
        raise BadName("a path must begin with a letter from a to z: the name of its Secret does")
    if not _END.search(small):
        raise BadName("a path must end with a letter from a to z or a digit: the name of its Secret does")
    name = _ODD.sub("-", small)
    if len(name) > MAX_NAME:
        raise BadName(f"the name of its Secret would have {len(name)} characters; {MAX_NAME} are allowed")
    return name


def check_user(name: str) -> None:
    """Raises ``BadName`` unless a ServiceAccount of that name, and its Secret ``<name>-token``, can exist."""
    if not _SUBDOMAIN.fullmatch(name):
        raise BadName(
            "a user's name becomes a ServiceAccount's: small letters a to z, digits, '-' and '.', "
            "with a letter or digit at both ends of each part"
        )
    if len(token_name(name)) > MAX_NAME:
        raise BadName(f"the name of its token, {name[:20]}...-token, would be longer than {MAX_NAME} characters")
    if name == "default":
        raise BadName("the ServiceAccount 'default' is in every namespace and every Pod gets it; choose another name")


def check_subdomain(name: str) -> None:
    """Raises ``BadName`` unless ``name`` may be an object's name: an RFC 1123 subdomain of at most 253 characters."""
    if len(name) > MAX_NAME or not _SUBDOMAIN.fullmatch(name):
        raise BadName(f"{name[:60]!r} is no name for an object: small letters a to z, digits, '-' and '.' are allowed")


def token_name(user: str) -> str:
    """The name of the Secret with the token of ``user``."""
    return f"{user}-token"


def check_namespace(name: str) -> None:
    """Raises ``BadName`` unless ``name`` is an RFC 1123 label of at most 63 characters."""
    if len(name) > MAX_LABEL or not _DNS_LABEL.fullmatch(name):
        raise BadName(
            f"{name!r} is no name for a namespace: at most {MAX_LABEL} small letters a to z, digits and '-', "
            "with a letter or digit at both ends"
        )


def check_key(key: str) -> None:
    """Raises ``BadName`` unless a Secret may have the key ``key``."""
    if not _KEY.fullmatch(key):
        shown = key if len(key) <= 40 and key.isprintable() else f"{key[:20]!r}..."
        raise BadName(f"the key {shown!r} is not allowed in a Secret: letters, digits, '-', '_' and '.' are")
    if len(key) > MAX_NAME:
        raise BadName(f"a key has {len(key)} characters; {MAX_NAME} are allowed")
    if key == "." or key.startswith(".."):
        raise BadName(f"the key {key!r} is not allowed in a Secret: it would leave the folder it is mounted in")


def check_qualified(name: str) -> None:
    """Raises ``BadName`` unless ``name`` may be the key of a label or an annotation: ``[prefix/]name``."""
    prefix, slash, last = name.rpartition("/")
    if slash and (len(prefix) > MAX_NAME or not _SUBDOMAIN.fullmatch(prefix)):
        raise BadName(f"{name!r} is no name for a label or annotation: what stands before '/' must be a DNS name")
    if len(last) > MAX_LABEL or not _NAME_PART.fullmatch(last):
        raise BadName(f"{name!r} is no name for a label or annotation")


def check_label_value(value: str) -> None:
    """Raises ``BadName`` unless ``value`` may be the value of a label."""
    if value and (len(value) > MAX_LABEL or not _NAME_PART.fullmatch(value)):
        raise BadName(f"{value!r} is no value for a label: at most {MAX_LABEL} letters, digits, '-', '_' and '.'")
