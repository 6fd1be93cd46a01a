"""Packets as scapy builds them, from one address to another, of every shape that a load balancer lets through.

In, as JSON: a list of ends: the stations ("from", "to"), the addresses ("source", "destination"), source and
destination port of each protocol ("tcp", "udp"). Out: for each a list of name and frame, in hexadecimal.
"""

import json
import random
import sys

from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import NoPayload, Padding, Raw

# Any more, and no outer header would fit into 1500 bytes.
LARGEST = 1200
DRAWN = 60


def main():
    json.dump([packets(ends) for ends in json.load(sys.stdin)], sys.stdout)


def packets(ends):
    draw = random.Random(1)
    is_ipv6 = ":" in ends["source"]
    links = list(tagged_links(Ether(src=ends["from"], dst=ends["to"])))
    shapes = named_ipv6(ends) if is_ipv6 else named_ipv4(ends)
    named = []
    for network, header in shapes:
        for transport, body in transports(ends):
            # In turns: ten transports and three links meet each other everywhere.
            tags, link = links[len(named) % len(links)]
            named.append((f"{network}, {transport}, {tags}", link / header / body))
    for number in range(DRAWN):
        tags, link = draw.choice(links)
        named.append((f"drawn {number}, {tags}", link / drawn(draw, ends, is_ipv6)))
    return [[name, bytes(frame).hex()] for name, frame in named]


def tagged_links(link):
    yield "no tag", link
    yield "a tag", link / Dot1Q(prio=5, vlan=7)
    yield "two tags", link / Dot1AD(prio=1, dei=1, vlan=100) / Dot1Q(vlan=4094)


def named_ipv4(ends):
    ip = {"src": ends["source"], "dst": ends["destination"]}
    yield "IPv4", IP(**ip)
    yield "no fragmentation", IP(flags="DF", id=0, **ip)
    yield "voice, ECT(0)", IP(tos=46 << 2 | 2, id=0xBEEF, **ip)
    yield "congestion", IP(tos=3, **ip)
    yield "the last hop", IP(ttl=2, **ip)
    yield "record route", IP(options=[IPOption_RR(routers=["0.0.0.0"] * 9), IPOption_NOP()], **ip)
    yield "timestamps", IP(options=[IPOption_Timestamp()], ttl=255, **ip)


def named_ipv6(ends):
    ip = {"src": ends["source"], "dst": ends["destination"]}
    yield "IPv6", IPv6(**ip)
    yield "a flow label", IPv6(fl=0xABCDE, **ip)
    yield "voice, ECT(0)", IPv6(tc=46 << 2 | 2, **ip)
    yield "congestion", IPv6(tc=3, fl=0xFFFFF, **ip)
    yield "the last hop", IPv6(hlim=2, **ip)
    yield "router alert", IPv6(hlim=255, **ip) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
    yield "an atomic fragment", IPv6(**ip) / IPv6ExtHdrFragment(id=0xCAFE)
    yield "every extension header", (
        IPv6(**ip)
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 100)])
        / IPv6ExtHdrRouting(type=3, addresses=[], segleft=0)
        / IPv6ExtHdrFragment()
        / IPv6ExtHdrDestOpt()
    )


def transports(ends):
    sport, dport = ends["tcp"]
    tcp = {"sport": sport, "dport": dport}
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    yield "SYN", TCP(flags="S", options=options, **tcp)
    yield "ECN setup", TCP(flags="SEC", **tcp)
    yield "data", TCP(flags="PA", seq=1, ack=1, **tcp) / Raw(b"GET / HTTP/1.1\r\n\r\n")
    yield "odd data", TCP(flags="A", urgptr=1, **tcp) / Raw(b"odd")
    yield "FIN", TCP(flags="FA", **tcp)
    yield "RST", TCP(flags="R", **tcp)
    sport, dport = ends["udp"]
    udp = {"sport": sport, "dport": dport}
    yield "datagram", UDP(**udp) / Raw(b"a question")
    yield "empty datagram", UDP(**udp)
    yield "no checksum", UDP(chksum=0, **udp) / Raw(b"unchecked")
    yield "padded datagram", UDP(**udp) / Raw(b"x") / Padding(b"\0" * 17)


def drawn(draw, ends, is_ipv6):
    ip = {"src": ends["source"], "dst": ends["destination"]}
    if is_ipv6:
        header = IPv6(tc=draw.randrange(256), fl=draw.randrange(1 << 20), hlim=draw.randrange(2, 256), **ip)
    else:
        header = IP(tos=draw.randrange(256), id=draw.randrange(1 << 16), ttl=draw.randrange(2, 256), **ip)
    if draw.random() < 0.5:
        sport, dport = ends["tcp"]
        body = TCP(
            sport=sport,
            dport=dport,
            # Neither SYN with FIN nor SYN with RST.
            flags=draw.choice(["S", "A", "PA", "FA", "RA", "R", "SA", "", "PAU"]),
            seq=draw.getrandbits(32),
            ack=draw.getrandbits(32),
            window=draw.getrandbits(16),
        )
    else:
        sport, dport = ends["udp"]
        body = UDP(sport=sport, dport=dport)
    payload = draw.randbytes(draw.choice([0, 1, 2, 3, draw.randrange(LARGEST)]))
    return header / body / (Raw(payload) if payload else NoPayload())


main()
