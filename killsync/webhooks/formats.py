"""What webhooks get: a killmail as a message for Discord, for Slack, or as signed JSON. Pure; names are hostile.

A name can hold markup, mentions and links. Discord and Slack show it as the text it is, and ping nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from killsync.killmails.killmail import Entity, Killmail, Party
from killsync.webhooks.payload import payload
from killsync.webhooks.sentences import Origin, name, sentences
from killsync.webhooks.voice import EVERYONE, HERE, Voice
from models.fields import utcnow
from models.webhooks import DISCORD, SLACK

PLAIN = Voice()
GREEN, RED, BLUE = 0x2E8B57, 0xB0392B, 0x2F6FA7
MOST_NAME = 100
#: Makes a run of text that looks like a mention or markup into plain text, and shows as nothing.
_NOTHING = "\u200b"

_MARKUP = re.compile(r"([!-/:-@\[-`{-~])")
_SLACK_MARKS = re.compile(r"([*_~`])")


@dataclass(frozen=True)
class Place:
    """Where the links of a message lead.

    Attributes:
        site: the address of Killsync's page.
        esi: ESI's address.
        images: whether Discord may be given a picture's address at CCP's image server.
    """

    site: str
    esi: str
    images: bool = False


@dataclass(frozen=True)
class Message:
    """A body and the headers that go with it."""

    body: bytes
    headers: dict[str, str]


def one_line(name: str) -> str:
    """A name as one line of visible text: no control characters, no change of direction, at most MOST_NAME."""
    kept = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    text = " ".join(kept.split())
    return text if len(text) <= MOST_NAME else text[: MOST_NAME - 1] + "…"


def for_discord(name: str) -> str:
    """A name that Discord shows as it is: every mark escaped, every mention broken."""
    return _MARKUP.sub(r"\\\1", one_line(name)).replace("@", "@" + _NOTHING)


def for_slack(name: str) -> str:
    """A name that Slack shows as it is. Slack knows entities for three characters and no escape for the rest."""
    text = one_line(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SLACK_MARKS.sub(rf"{_NOTHING}\1{_NOTHING}", text).replace("@", "@" + _NOTHING)


def names_missing(killmail: Killmail) -> bool:
    """Whether a name that a message shows is still to come."""
    parties: list[Party] = [killmail.victim, *([killmail.final_blow] if killmail.final_blow else [])]
    shown = [killmail.solar_system, *(entity for party in parties for entity in _entities(party))]
    return any(entity is not None and entity.name is None for entity in shown)


def _entities(party: Party) -> list[Entity | None]:
    return [party.character, party.corporation, party.alliance, party.faction, party.ship_type]


def message(kind: str, killmail: Killmail, place: Place, *, is_loss: bool | None, delivery_id: int,
            secret: str | None = None, voice: Voice = PLAIN, origin: Origin | None = None) -> Message:  # fmt: skip
    """The message of one killmail.

    Args:
        kind: Discord, Slack or JSON.
        killmail: the killmail.
        is_loss: the side that the webhook watches lost the ship; None when it watches no side.
        delivery_id: the same when a delivery comes again, so that a receiver can tell.
        secret: signs a JSON message.
        voice: how the tracker speaks.
        origin: from where it counts jumps and light years.
    """
    if kind == DISCORD:
        return _json(_discord(killmail, place, is_loss, voice, origin))
    if kind == SLACK:
        return _json(_slack(killmail, place, voice, origin))
    content: dict[str, Any] = {"killmail": payload(killmail), "links": _links(killmail, place)}
    content["tracker"] = {"name": voice.name, "title": voice.title, "ping": voice.ping}
    if origin is not None:
        content["origin"] = {"solarSystem": origin.name, "jumps": origin.jumps, "lightYears": origin.light_years}
    return _signed("killmail", delivery_id, content, secret)


def trial(kind: str, called: str, secret: str | None = None) -> Message:
    """A message that only shows that the way is open."""
    if kind == DISCORD:
        text = f"Killsync reaches this channel. Killmails of “{for_discord(called)}” will appear here."
        return _json({"content": text, "allowed_mentions": {"parse": []}})
    if kind == SLACK:
        return _json({"text": f"Killsync reaches this channel. Killmails of “{for_slack(called)}” will appear here."})
    return _signed("test", 0, {"message": "Killsync reaches this address."}, secret)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`X-Killsync-Signature`: HMAC-SHA256 over the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _signed(event: str, delivery_id: int, content: dict[str, Any], secret: str | None) -> Message:
    now = utcnow()
    sent = {"event": event, "deliveryId": str(delivery_id), "sentAt": now.isoformat(timespec="seconds"), **content}
    body = json.dumps(sent, separators=(",", ":")).encode()
    headers = {"X-Killsync-Event": event, "X-Killsync-Delivery": str(delivery_id)}
    if secret:
        timestamp = str(int(now.timestamp()))
        headers |= {"X-Killsync-Timestamp": timestamp, "X-Killsync-Signature": signature(secret, timestamp, body)}
    return Message(body, headers)


def _json(content: dict[str, Any]) -> Message:
    return Message(json.dumps(content, separators=(",", ":")).encode(), {})


def _links(killmail: Killmail, place: Place) -> dict[str, str]:
    return {
        "page": f"{place.site}/killmails/{killmail.killmail_id}",
        "esi": f"{place.esi}/killmails/{killmail.killmail_id}/{killmail.killmail_hash}",
    }


def _discord(
    killmail: Killmail, place: Place, is_loss: bool | None, voice: Voice, origin: Origin | None
) -> dict[str, Any]:
    links = _links(killmail, place)
    ship, system = name(killmail.victim.ship_type, "Type"), name(killmail.solar_system, "System")
    ways = f"[Killmail]({links['page']}) · [ESI]({links['esi']})"
    embed: dict[str, Any] = {
        "title": for_discord(f"{one_line(ship)} lost in {one_line(system)}"),
        "url": links["page"],
        "description": "\n".join([*sentences(killmail, for_discord, "**", origin), ways]),
        "color": voice.color if voice.color is not None else _color(is_loss),
        "timestamp": killmail.killmail_time.isoformat(),
        "footer": {"text": f"Killsync · killmail {killmail.killmail_id}"},
    }
    if place.images:
        picture = f"https://images.evetech.net/types/{killmail.victim.ship_type.id}/icon?size=64"
        embed["thumbnail"] = {"url": picture}
    sent: dict[str, Any] = {"embeds": [embed], "allowed_mentions": _mentions(voice)}
    ping = {HERE: "@here", EVERYONE: "@everyone"}.get(voice.ping, f"<@&{voice.role_id}>" if voice.role_id else "")
    title = f"**{for_discord(voice.title)}**" if voice.title else ""
    if ping or title:
        sent["content"] = f"{ping} {title}".strip()
    return sent


def _color(is_loss: bool | None) -> int:
    return BLUE if is_loss is None else RED if is_loss else GREEN


def _mentions(voice: Voice) -> dict[str, Any]:
    """Whom a message of Discord may ping: nobody but whom its owner chose, whatever names it holds."""
    if voice.role_id is not None:
        return {"parse": [], "roles": [voice.role_id]}
    return {"parse": ["everyone"] if voice.ping in (HERE, EVERYONE) else []}


def _slack(killmail: Killmail, place: Place, voice: Voice, origin: Origin | None) -> dict[str, Any]:
    links = _links(killmail, place)
    lines = sentences(killmail, for_slack, "*", origin)
    ping = {HERE: "<!here>", EVERYONE: "<!channel>"}.get(voice.ping, "")
    title = f"*{for_slack(voice.title)}*" if voice.title else ""
    if ping or title:
        lines.insert(0, f"{ping} {title}".strip())
    moment = killmail.killmail_time.strftime("%Y-%m-%d %H:%M:%S")
    more = f"<{links['page']}|Killmail {killmail.killmail_id}> · <{links['esi']}|ESI> · {moment} EVE time"
    return {
        "text": sentences(killmail, for_slack, "", origin)[0],
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines), "verbatim": True}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": more, "verbatim": True}]},
        ],
    }
