"""What webhooks are told: a killmail as a message for Discord, for Slack, or as signed JSON. Pure; names are hostile.

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

from models.fields import utcnow
from models.webhooks import DISCORD, JSON, SLACK

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


def plain(name: str) -> str:
    """A name as one line of visible text: no control characters, no change of direction, at most MOST_NAME."""
    kept = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    text = " ".join(kept.split())
    return text if len(text) <= MOST_NAME else text[: MOST_NAME - 1] + "…"


def for_discord(name: str) -> str:
    """A name that Discord shows as it is: every mark escaped, every mention broken."""
    return _MARKUP.sub(r"\\\1", plain(name)).replace("@", "@" + _NOTHING)


def for_slack(name: str) -> str:
    """A name that Slack shows as it is. Slack knows entities for three characters and no escape for the rest."""
    text = plain(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SLACK_MARKS.sub(rf"{_NOTHING}\1{_NOTHING}", text).replace("@", "@" + _NOTHING)


def names_missing(tree: dict[str, Any]) -> bool:
    """Whether a name that a message shows is still to come."""
    shown = [tree["solarSystem"], tree["victim"]["shipType"], *_people(tree["victim"])]
    if tree["finalBlow"]:
        shown += [*_people(tree["finalBlow"]), tree["finalBlow"]["shipType"]]
    return any(thing is not None and thing["name"] is None for thing in shown)


def _people(party: dict[str, Any]) -> list[Any]:
    return [party["character"], party["corporation"], party["alliance"], party["faction"]]


def killmail(kind: str, tree: dict[str, Any], place: Place, *, is_loss: bool | None, delivery_id: int,
             secret: str | None = None) -> Message:  # fmt: skip
    """The message of one killmail.

    Args:
        kind: Discord, Slack or JSON.
        tree: the killmail as `models.feed` gives it.
        is_loss: the side that the webhook watches lost the ship; None when it watches no side.
        delivery_id: the same when a delivery comes again, so that a receiver can tell.
        secret: signs a JSON message.
    """
    if kind == DISCORD:
        return _json(_discord(tree, place, is_loss))
    if kind == SLACK:
        return _json(_slack(tree, place))
    return _signed("killmail", delivery_id, {"killmail": _plain_tree(tree), "links": _links(tree, place)}, secret)


def trial(kind: str, name: str, secret: str | None = None) -> Message:
    """A message that only shows that the way is open."""
    if kind == DISCORD:
        text = f"Killsync reaches this channel. Killmails of “{for_discord(name)}” will appear here."
        return _json({"content": text, "allowed_mentions": {"parse": []}})
    if kind == SLACK:
        return _json({"text": f"Killsync reaches this channel. Killmails of “{for_slack(name)}” will appear here."})
    return _signed("test", 0, {"message": "Killsync reaches this address."}, secret)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`X-Killsync-Signature`: HMAC-SHA256 over the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _signed(event: str, delivery_id: int, content: dict[str, Any], secret: str | None) -> Message:
    now = utcnow()
    sent = {"event": event, "deliveryId": str(delivery_id), "sentAt": now.isoformat(timespec="seconds"), **content}
    body = json.dumps(sent, separators=(",", ":"), default=lambda value: value.isoformat()).encode()
    headers = {"X-Killsync-Event": event, "X-Killsync-Delivery": str(delivery_id)}
    if secret:
        timestamp = str(int(now.timestamp()))
        headers |= {"X-Killsync-Timestamp": timestamp, "X-Killsync-Signature": signature(secret, timestamp, body)}
    return Message(body, headers)


def _json(content: dict[str, Any]) -> Message:
    return Message(json.dumps(content, separators=(",", ":")).encode(), {})


def _links(tree: dict[str, Any], place: Place) -> dict[str, str]:
    return {
        "page": f"{place.site}/killmails/{tree['id']}",
        "esi": f"{place.esi}/killmails/{tree['id']}/{tree['killmailHash']}",
    }


def _plain_tree(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if name != "items"}


def _name(thing: dict[str, Any] | None, kind: str) -> str:
    return "" if thing is None else thing["name"] or f"{kind} {thing['id']}"


def _who(party: dict[str, Any], escape: Any) -> tuple[str, str]:
    """(the pilot, or who stands for a party without one; their corporation and alliance), escaped."""
    pilot, corporation = _name(party["character"], "Character"), _name(party["corporation"], "Corporation")
    alliance, faction = _name(party["alliance"], "Alliance"), _name(party["faction"], "Faction")
    first = pilot or corporation or faction or "Unknown"
    rest = [name for name in (corporation, alliance or faction) if name and name != first]
    return escape(first), ", ".join(escape(name) for name in rest)


def _article(tree: dict[str, Any]) -> str:
    return "an" if _name(tree["victim"]["shipType"], "Type")[:1] in tuple("AEIOUaeiou") else "a"


def _sentences(tree: dict[str, Any], escape: Any, bold: str) -> list[str]:
    ship = escape(_name(tree["victim"]["shipType"], "Type"))
    system = escape(_name(tree["solarSystem"], "System"))
    who, of = _who(tree["victim"], escape)
    lines = [
        f"{bold}{who}{bold}{f' ({of})' if of else ''} lost {_article(tree)} {bold}{ship}{bold} in {bold}{system}{bold}."
    ]
    blow = tree["finalBlow"]
    if blow:
        killer, of = _who(blow, escape)
        flown = f" in {escape(_name(blow['shipType'], 'Type'))}" if blow["shipType"] else ""
        lines.append(f"Final blow by {bold}{killer}{bold}{f' ({of})' if of else ''}{flown}.")
    marks = [word for word, is_so in (("solo", tree["solo"]), ("NPC", tree["npc"])) if is_so]
    count = tree["attackerCount"]
    lines.append(f"{count} attacker{'' if count == 1 else 's'}{f' ({marks[0]})' if marks else ''}, "
                 f"{tree['victim']['damageTaken']:,} damage.")  # fmt: skip
    return lines


def _discord(tree: dict[str, Any], place: Place, is_loss: bool | None) -> dict[str, Any]:
    links = _links(tree, place)
    ship, system = _name(tree["victim"]["shipType"], "Type"), _name(tree["solarSystem"], "System")
    embed: dict[str, Any] = {
        "title": for_discord(f"{plain(ship)} lost in {plain(system)}"),
        "url": links["page"],
        "description": "\n".join([*_sentences(tree, for_discord, "**"), f"[Killmail]({links['page']}) · [ESI]({links['esi']})"]),
        "color": BLUE if is_loss is None else RED if is_loss else GREEN,
        "timestamp": tree["killmailTime"].isoformat(),
        "footer": {"text": f"Killsync · killmail {tree['id']}"},
    }  # fmt: skip
    if place.images:
        ship_id = tree["victim"]["shipType"]["id"]
        embed["thumbnail"] = {"url": f"https://images.evetech.net/types/{ship_id}/icon?size=64"}
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _slack(tree: dict[str, Any], place: Place) -> dict[str, Any]:
    links = _links(tree, place)
    lines = _sentences(tree, for_slack, "*")
    moment = tree["killmailTime"].strftime("%Y-%m-%d %H:%M:%S")
    more = f"<{links['page']}|Killmail {tree['id']}> · <{links['esi']}|ESI> · {moment} EVE time"
    return {
        "text": _sentences(tree, for_slack, "")[0],
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines), "verbatim": True}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": more, "verbatim": True}]},
        ],
    }


__all__ = [
    "JSON",
    "Message",
    "Place",
    "for_discord",
    "for_slack",
    "killmail",
    "names_missing",
    "plain",
    "signature",
    "trial",
]
