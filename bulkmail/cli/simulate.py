"""`bulkmail send --simulate`: when a campaign would be over, which site is the last, and which limit binds."""

from pathlib import Path

import msgspec
from rich.text import Text

from bulkmail.cli.output import err, out, percent, print_json, safe, span, table
from bulkmail.cli.places import has_state
from bulkmail.cli.summary import print_counts
from bulkmail.config.load import load_campaign
from bulkmail.simulation.forecast import Forecast, SiteForecast, forecast
from bulkmail.store.locate import state_for_campaign

SITES = 8
LIMITS = {
    "messages": "messages a second (`messages`)",
    "connections": "connections at once (`connections`)",
    "connects": "new connections a second (`connects`)",
    "domain": "the rate of a domain (`limits.domains`)",
    "pace": "the receiver, which asked for less",
    "pause": "the receiver, which asked for a pause",
    "retry": "waiting for the next attempt (`retry`)",
    "round_trips": "the way there and back",
    "unreachable": "nobody answered, until `expire`",
}


def simulate(file: str, *, json: bool, state: Path | None, limit: int | None) -> None:
    """Raises CampaignError and StateError."""
    campaign = load_campaign(file)
    directory = state_for_campaign(campaign.file, state)
    if not json:
        err().print("simulating: nothing is sent, nothing is written")
    found = forecast(campaign, state=directory if has_state(directory) else None, limit=limit)
    if json:
        print_json(msgspec.to_builtins(found))
        return
    _print(found)


def _print(found: Forecast) -> None:
    console, summary = out(), found.summary
    console.print(Text.assemble((summary.campaign, "bold"), f": over {span(found.seconds)} after it is begun"))
    console.print()
    print_counts(console, summary)
    console.print()
    for share, seconds in found.shares.items():
        console.print(f"  {share:>4} are final after {span(seconds)}")
    console.print(f"  last delivery after {span(found.delivered_by)}")
    if found.delivered_by < found.seconds:
        console.print(f"  last one given up, or refused, after {span(found.seconds)}")
    console.print(f"  at most {found.peak_per_second:,} messages in one second")
    console.print(f"  at most {found.most_connections:,} connections at once")
    tail = found.tail
    if tail is not None:
        console.print()
        console.print(Text.assemble("  the tail is ", (safe(tail.site), "bold"), f": {_why(tail)}"))
        large = found.large
        if large is not None and large != tail:
            console.print(
                Text.assemble(
                    "  of the large sites the last is ",
                    (safe(large.site), "bold"),
                    f", after {span(large.delivered_by)}: {_why(large)}",
                )
            )
        console.print()
        console.print(_table(found, console.width))
    console.print()
    console.print(
        "  Receivers are simulated from what is publicly known of them, this machine takes no time: real ones differ."
    )


def _why(site: SiteForecast) -> str:
    whole = sum(site.limits.values())
    share = f", {percent(round(site.limits[site.limit]), round(whole))} of its time" if whole >= 1 else ""
    return f"{LIMITS[site.limit]}{share}"


def _table(found: Forecast, columns: int) -> Text:
    rows = [
        (site.site, f"{site.delivered:,}", span(site.delivered_by) if site.delivered else "-", LIMITS[site.limit])
        for site in found.sites[:SITES]
    ]
    text = table(("site", "delivered", "last after", "held up by"), rows, columns=columns, numbers=(1, 2))
    if len(found.sites) > SITES:
        text.append(f"\n  and {len(found.sites) - SITES:,} more sites", "dim")
    return text
