"""bulkmail as a library: `bulkmail_sender CAMPAIGN STATE turbo|plain [SIGNERS]`."""

import sys

import bulkmail


def main() -> None:
    campaign, state, turbo, *signers = sys.argv[1:]
    summary = bulkmail.send(campaign, state=state, turbo=turbo == "turbo", signers=int(signers[0]) if signers else None)
    if summary.delivered != summary.recipients:
        raise SystemExit(f"not all was delivered: {summary}")


if __name__ == "__main__":
    main()
