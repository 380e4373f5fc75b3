"""CPU of the client's side of a TLS handshake: whole, verified, and resumed.

    python -m benchmarks.handshakes

Both sides run in memory, in one thread; only the client's calls are timed. The server has an ECDSA P-256 certificate
of an authority.
"""

import ssl
import statistics
import time
from tempfile import NamedTemporaryFile

from bulkmail.net.tls import ClientContext, client_context
from bulkmail.sandbox.certificate import Authority, server_context

HOST = "mx.shop.example"
ROUNDS, COUNT = 7, 200


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[float, ssl.SSLObject]:
    """Seconds of CPU of the client until it has the first bytes under TLS."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    begun = time.process_time()
    ours = client.wrap_bio(to_client, to_server, server_hostname=HOST)
    spent = time.process_time() - begun
    done = [False, False]
    while not all(done):
        for side, connection in ((0, ours), (1, theirs)):
            begun = time.process_time()
            try:
                connection.do_handshake()
                done[side] = True
            except ssl.SSLWantReadError:
                pass
            if side == 0:
                spent += time.process_time() - begun
    theirs.write(b"250 ok\r\n")
    begun = time.process_time()
    ours.read()
    return spent + time.process_time() - begun, ours


def microseconds(client: ClientContext, server: ssl.SSLContext, *, resume: bool) -> float:
    """The median of the rounds' means."""
    means = []
    for _ in range(ROUNDS):
        total = 0.0
        for _ in range(COUNT):
            spent, ours = handshake(client, server)
            total += spent
            if resume:
                client.keep_session(ours)
        means.append(total / COUNT)
    return statistics.median(means) * 1e6


def main() -> None:
    authority = Authority(now_seconds=time.time())
    server = server_context(*authority.issue([HOST]))
    with NamedTemporaryFile(suffix=".pem") as roots:
        roots.write(authority.certificate)
        roots.flush()
        for name, verify in (("anybody", False), ("verified", True)):
            context = client_context(verify=verify, authorities=roots.name if verify else None)
            whole = microseconds(context, server, resume=False)
            resumed = microseconds(context, server, resume=True)
            print(f"{name:>9}: {whole:5.0f} us whole, {resumed:5.0f} us resumed, {1 - resumed / whole:.0%} less")


if __name__ == "__main__":
    main()
