"""The one error of files that SOPS encrypted."""

from strongroom.errors import Hinted


class Undecryptable(Hinted):
    """A file cannot be decrypted, or is not what was encrypted. ``hint`` says what would help.

    The message names no file (the caller says where) and holds neither ciphertext nor plaintext, only names of keys,
    which such a file shows in clear.
    """
