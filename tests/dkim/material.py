"""Keys of the tests, made once a process; none signs anything but test mail."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

# `cryptography` makes no key this short.
RSA_768_PEM = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIIBywIBAAJhAN2W0/NC628T7DletkGzn5pEkMp7oO6JOwnEWSdQ0OvlAJYjywEr
3sRfozjcf+rxiUgrHYYmtVfv0UFmyOpHNuGgLsJ32VA0aNO4UoWHeV9xDrLFSbl0
Ekz35Sf6dsvJXwIDAQABAmBO+7QQwYmpzjAlQt00DhKVqlrx0Z9LZx7kHFiq6uON
MdNDsP5rLHf7Bxvm6LGvzOe4RsMVTStaqTaUH6xwNP/XaQG8skV7XqAmzpVco9mX
GRZwpC55LbfSd7uCmHNl/gECMQDuyEs4fQ1VvU4FiAwUqRK98kg9wJQDFTneN/WA
p50jfrspberqKehpZDgoHV9l7n0CMQDtkSmqxE0Yam7sXxUIc4hMnMrAdriG8Jdn
UALFH8rBWlTVJe74XJBJdKmOBeFo0gsCMQCVrmTIwksrpgFUolXAVcPz4f67Bw9B
Z3rg+/8faPKuH3E/pTGPHDoeZr51FwSIJxkCMQCtvxwlO5pTAAyOLWAZpT2LIqUa
q/l7H1zr/1V3TDAix2kB1tN2q2QPhRY4u85Gtk8CMH71Jt0wHZoTeYLd6x8Mrriq
HacIv3ksK5q+Ji7g5l95neEJcKhRvAyiyA5MG8tMbg==
-----END RSA PRIVATE KEY-----
"""


@cache
def rsa_key(bits: int) -> RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ed25519_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
