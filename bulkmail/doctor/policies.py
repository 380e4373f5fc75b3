"""Examine the MTA-STS policy that a domain announces: can it be fetched, and does it allow the domain's exchangers?"""

from bulkmail.doctor.finding import Finding, fine, problem, unknown
from bulkmail.doctor.scene import Scene
from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError
from bulkmail.http.fetch import fetch_text
from bulkmail.smtp.sts import POLICY_BYTES, StsError, parse_policy

HTTPS_PORT = 443
FETCH_SECONDS = 10.0


async def examine_sts_policy(scene: Scene, domain: str, hosts: list[str]) -> list[Finding]:
    """As a send fetches it (RFC 8461 §3.3), but nothing is kept."""

    async def look_up(host: str) -> tuple[str, ...]:
        return (await scene.lookups.addresses(host)).records

    port = "" if HTTPS_PORT == 443 else f":{HTTPS_PORT}"
    url = f"https://mta-sts.{domain}{port}/.well-known/mta-sts.txt"
    client = HttpClient(look_up, allow_private=scene.private_allowed, context=scene.certificates)
    try:
        policy = parse_policy(await fetch_text(client, url, limit_bytes=POLICY_BYTES, timeout_seconds=FETCH_SECONDS))
    except (HttpError, StsError) as error:
        return [
            unknown(
                "sts.unfetched",
                f"{domain} announces an MTA-STS policy that cannot be had",
                f"{url}: {error}",
                remedy="try again; only its owner can mend it, and mail goes under TLS meanwhile",
            )
        ]
    finally:
        await client.close()
    shown = f"mode {policy.mode}, mx {', '.join(policy.mx)}"
    barred = [host for host in hosts if not policy.allows(host)]
    if barred and policy.mode == "enforce":
        return [
            problem(
                "sts.barred",
                f"the MTA-STS policy of {domain} does not allow {', '.join(barred)}",
                shown,
                remedy="no mail goes there; only the owner of the domain can mend its policy or its MX",
            )
        ]
    return [fine("sts.policy", f"the MTA-STS policy of {domain}", shown)]
