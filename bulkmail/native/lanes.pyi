"""SHA-256 of many messages side by side, and keys that sign eight digests at once.

SHA-256 runs in sixteen lanes of AVX-512, or in two by the SHA instructions; else it is `hashlib`'s, under the GIL.
"""

from collections.abc import Sequence

def sha256_many(messages: list[bytes], lanes: int = 16) -> list[bytes]:
    """The SHA-256 of each, `lanes` side by side or as many as this CPU can: 16, 2, or 0 for `hashlib`'s."""

class LaneKey:
    """A key that signs SHA-256 digests by functions whose addresses it is given, without the GIL. Threads may share it.

    By eights with libcrypto_mb: then no signature comes out that does not verify against the public key.
    """

    fewest: int
    "The fewest digests for which eight at a time pay."

    @staticmethod
    def rsa(
        functions: tuple[int, int],
        methods: tuple[int, int],
        scratch: int,
        fewest: int,
        padding: bytes,
        parts: Sequence[bytes],
    ) -> LaneKey:
        """`functions` are `mbx_rsa_private_crt_mb8` and `mbx_rsa_public_mb8`, `methods` theirs, `scratch` their bytes.

        `padding` is what stands before the digest in a signature; `parts` are p, q, dp, dq, 1/q and n, little endian.
        """

    @staticmethod
    def ed25519(functions: tuple[int, int], fewest: int, seed: bytes, public: bytes) -> LaneKey:
        """`functions` are `mbx_ed25519_sign_mb8` and `mbx_ed25519_verify_mb8`."""

    @staticmethod
    def one_by_one(addresses: Sequence[int], der: bytes, width: int, rsa: bool) -> LaneKey:
        """Signs one by one with OpenSSL: `addresses` of its functions in the order of `ossl_functions`.

        `der` is the private key in any form that `d2i_AutoPrivateKey` reads, `width` the bytes of a signature.
        """

    def sign(self, digests: Sequence[bytes]) -> list[bytes]:
        """One signature a digest, in order. Runs without the GIL. ArithmeticError unless every one verifies."""
