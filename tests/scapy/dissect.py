"""What scapy reads in the frames that the program made of others.

In, as JSON: a list of runs, each with what was asked of the program ("forward", which is a mode or "reply"), the
stations of a frame that leaves ("from", "to"), addresses and ports, and its "packets": name, frame before, frame
after, in hexadecimal. Out: a line of complaint for everything that is not as it should be, and then how many
packets were read.
"""

import json
import sys

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import NoPayload, Padding


class Wrong(Exception):
    """What is not as it should be."""


def main():
    read = 0
    for run in json.load(sys.stdin):
        for name, before, after in run["packets"]:
            try:
                judge(run, Ether(bytes.fromhex(before)), Ether(bytes.fromhex(after)))
            except Wrong as wrong:
                print(f"{run['forward']}: {name}: {wrong}; before {before}, after {after}")
            read += 1
    print(f"read {read}")


def judge(run, before, after):
    same("MAC addresses", (after.src, after.dst), (run["from"], run["to"]))
    inner_before, inner_after = behind_tags(before), behind_tags(after)
    same("tags", tags(after), tags(before))
    same("padding", padding(after), padding(before))
    wanted = inner_before.copy()
    age(wanted)
    if run["forward"] in ("ipip", "gue"):
        inner_after = unwrapped(run, inner_before, inner_after)
    elif run["forward"] == "dnat":
        wanted.dst = run["backend"]
        transport(wanted).dport = run["ports"][kind(wanted)]
    elif run["forward"] == "reply":
        wanted.src = run["vip"]
        transport(wanted).sport = run["ports"][kind(wanted)]
    is_right("the packet", inner_after)
    same("the packet", unpadded(inner_after), unpadded(computed(wanted)))


def unwrapped(run, before, outer):
    """Judges an outer header and what belongs to it; gives what is in it."""
    inner_version = 6 if IPv6 in before else 4
    same("the outer header's class", traffic_class(outer), traffic_class(before))
    same("the outer addresses", (outer.src, outer.dst), (run["source"], run["backend"]))
    if isinstance(outer, IP):
        same("id, flags, offset", (outer.id, str(outer.flags), outer.frag), (0, "DF", 0))
        same("ttl, header", (outer.ttl, outer.ihl), (64, 5))
        announced = outer.proto
    else:
        same("hop limit", outer.hlim, 64)
        announced = outer.nh
    length = len(unpadded(outer))
    same("length", length, len(unpadded(before)) + run["outer_length"])
    is_right("the outer packet", outer)
    if run["forward"] == "ipip":
        same("what is announced", announced, {4: 4, 6: 41}[inner_version])
        inner = outer.payload
        same("what scapy found", type(inner), {4: IP, 6: IPv6}[inner_version])
        return inner
    same("what is announced", announced, 17)
    udp = outer.payload
    same("what scapy found", type(udp), UDP)
    same("the port and checksum", (udp.dport, udp.chksum), (run["gue_port"], 0))
    if udp.sport < 0xC000:
        raise Wrong(f"source port {udp.sport}")
    # Nothing stands between: the first four bits tell what it is.
    payload = bytes(udp.payload)[: udp.len - 8]
    same("the version", payload[0] >> 4, inner_version)
    return {4: IP, 6: IPv6}[inner_version](payload)


def behind_tags(frame):
    layer = frame.payload
    while isinstance(layer, (Dot1Q, Dot1AD)):
        layer = layer.payload
    if not isinstance(layer, (IP, IPv6)):
        raise Wrong(f"scapy reads {frame.summary()}")
    return layer


def tags(frame):
    """What stands between the Ethernet header and IP, but for what is announced at its end."""
    found = []
    announced = frame.type
    layer = frame.payload
    while isinstance(layer, (Dot1Q, Dot1AD)):
        found.append((announced, layer.prio, layer.dei, layer.vlan))
        announced = layer.type
        layer = layer.payload
    same("the EtherType", announced, {IP: 0x0800, IPv6: 0x86DD}[type(layer)])
    return found


def transport(ip):
    return ip[TCP] if TCP in ip else ip[UDP]


def kind(ip):
    return "tcp" if TCP in ip else "udp"


def traffic_class(ip):
    return ip.tos if isinstance(ip, IP) else ip.tc


def age(ip):
    if isinstance(ip, IP):
        ip.ttl -= 1
    else:
        ip.hlim -= 1


def padding(frame):
    return bytes(frame[Padding]) if Padding in frame else b""


def unpadded(ip):
    """A packet's bytes without what scapy found behind it."""
    behind = padding(ip)
    whole = bytes(ip)
    return whole[: len(whole) - len(behind)]


def is_right(what, ip):
    """Every length and checksum is what scapy computes."""
    same(f"{what}, computed anew", unpadded(computed(ip)), unpadded(ip))


def computed(ip):
    """The packet with every length and checksum computed anew, but for UDP checksums that are left out."""
    packet = ip.copy()
    layer = packet
    while not isinstance(layer, NoPayload):
        if isinstance(layer, IP):
            del layer.len, layer.chksum
        elif isinstance(layer, IPv6):
            del layer.plen
        elif isinstance(layer, TCP):
            del layer.chksum
        elif isinstance(layer, UDP):
            del layer.len
            if layer.chksum != 0:
                del layer.chksum
        layer = layer.payload
    return type(ip)(bytes(packet))


def same(what, found, wanted):
    if isinstance(found, bytes):
        found, wanted = found.hex(), wanted.hex()
    if found != wanted:
        raise Wrong(f"{what}: {found}, not {wanted}")


main()
