"""Reaching the network: listeners of the host, its interfaces and routes, and families that no namespace covers."""

from __future__ import annotations

import encodings.idna  # noqa: F401  # looked up when a name is resolved, which may be too late
import socket
import struct

from .registry import Bait, Control, attempt, table
from .system import Stopped, need, openable, read

PATIENCE = 1.0
_ADDRESSES = {4: socket.AF_INET, 6: socket.AF_INET6}


def _answers(bait: Bait, family: int, address: object, kind: int = socket.SOCK_STREAM) -> None:
    """The bystander answers whoever reaches it with the secret."""
    with socket.socket(family, kind) as client:
        client.settimeout(PATIENCE)
        client.connect(address)  # type: ignore[arg-type]
        client.send(b"?")
        need(client.recv(200) == bait.token.encode())


@attempt("connects to a TCP listener on the host's loopback", quick=True)
def tcp_loopback(bait: Bait) -> None:
    _answers(bait, socket.AF_INET, ("127.0.0.1", bait.tcp))


@attempt("connects to a TCP listener on the host's IPv6 loopback")
def tcp6_loopback(bait: Bait) -> None:
    _answers(bait, socket.AF_INET6, ("::1", bait.tcp6))


@attempt("connects to the host's listener by an IPv4 address written as IPv6")
def tcp_mapped(bait: Bait) -> None:
    _answers(bait, socket.AF_INET6, ("::ffff:127.0.0.1", bait.tcp))


@attempt("connects to the host's listener by the address 0.0.0.0")
def tcp_any(bait: Bait) -> None:
    _answers(bait, socket.AF_INET, ("0.0.0.0", bait.tcp))  # to connect to, not to listen on


@attempt("sends data with the first packet of a TCP connection to the host")
def tcp_fast_open(bait: Bait) -> None:
    with socket.socket() as client:
        client.sendto(b"?", socket.MSG_FASTOPEN, ("127.0.0.1", bait.tcp))
        need(client.recv(200) == bait.token.encode())


@attempt("exchanges UDP datagrams with the host's loopback", quick=True)
def udp_loopback(bait: Bait) -> None:
    _answers(bait, socket.AF_INET, ("127.0.0.1", bait.udp), socket.SOCK_DGRAM)


@attempt("connects to a Unix socket of the host by its path", quick=True)
def unix_path(bait: Bait) -> None:
    _answers(bait, socket.AF_UNIX, bait.unix)


@attempt("connects to a Unix socket of the host by its path below /proc/self/root")
def unix_path_by_root(bait: Bait) -> None:
    _answers(bait, socket.AF_UNIX, f"/proc/self/root{bait.unix}")


@attempt("sends a datagram to a Unix socket of the host and gets an answer")
def unix_datagram(bait: Bait) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind("")  # the kernel chooses an abstract name, to be answered at
        client.sendto(b"?", bait.unix_datagram)
        need(client.recv(200) == bait.token.encode())


@attempt("connects to an abstract Unix socket of the host", quick=True)
def unix_abstract(bait: Bait) -> None:
    _answers(bait, socket.AF_UNIX, f"\0{bait.abstract}")


@attempt("learns which abstract sockets the host has, by taking a name that is taken")
def unix_abstract_name(bait: Bait) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.bind(f"\0{bait.abstract}")
        except OSError:
            return
    raise Stopped


def _route(version: int, address: str, _: Bait) -> None:
    with socket.socket(_ADDRESSES[version], socket.SOCK_DGRAM) as client:
        client.connect((address, 9))  # a datagram socket sends nothing by this; the address is one for documentation


table(
    _route,
    [
        ("route4", "has a route to the world outside by IPv4", 4, "192.0.2.1"),
        ("route6", "has a route to the world outside by IPv6", 6, "2001:db8::1"),
    ],
    quick=("route4",),
)


@attempt("sees a network interface other than its own loopback", quick=True)
def interfaces(_: Bait) -> None:
    need([name for _, name in socket.if_nameindex() if name not in ("lo", "sit0", "ip6tnl0", "tunl0")])


@attempt("sees the host's listener in /proc/net/tcp")
def listed_tcp(bait: Bait) -> None:
    need(f":{bait.tcp:04X} " in read("/proc/net/tcp").decode())


@attempt("sees the host's listener in /proc/net/udp")
def listed_udp(bait: Bait) -> None:
    need(f":{bait.udp:04X} " in read("/proc/net/udp").decode())


@attempt("sees the host's sockets in /proc/net/unix")
def listed_unix(bait: Bait) -> None:
    with open("/proc/net/unix") as lines:
        need(any(bait.abstract in line for line in lines))


@attempt("reads the host's routes")
def routes(_: Bait) -> None:
    need(len(read("/proc/net/route").splitlines()) > 1)


@attempt("reads the host's hardware addresses")
def hardware_addresses(_: Bait) -> None:
    need(b"\n" in read("/proc/net/dev_mcast"))


@attempt("asks the kernel for the host's sockets by netlink")
def socket_diagnosis(bait: Bait) -> None:
    # struct nlmsghdr and inet_diag_req_v2: all listening TCP sockets
    request = struct.pack("=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 1 << 10)
    header = struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as client:
        client.settimeout(PATIENCE)
        client.send(header + request)
        need(struct.pack(">H", bait.tcp) in client.recv(1 << 20))


@attempt("reads the resolver's configuration")
def resolver(_: Bait) -> None:
    need(read("/etc/resolv.conf"))


@attempt("reads the host's table of names and addresses")
def hosts(_: Bait) -> None:
    need(read("/etc/hosts"))


def _family(number: int, kind: int, protocol: int, _: Bait) -> None:
    socket.socket(number, kind, protocol).close()


STREAM, DATAGRAM, RAW, SEQUENCE = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET
table(
    _family,
    [
        ("vsock", "makes a socket to a virtual machine's host (AF_VSOCK)", 40, STREAM, 0),
        ("alg", "makes a socket into the kernel's cryptography (AF_ALG)", 38, SEQUENCE, 0),
        ("bluetooth", "makes a Bluetooth socket", 31, RAW, 1),
        ("can", "makes a CAN bus socket", 29, RAW, 1),
        ("tipc", "makes a cluster socket (AF_TIPC)", 30, STREAM, 0),
    ],
    quick=("vsock",),
)
table(
    _family,
    [
        ("packet", "makes a socket that sees every frame (AF_PACKET)", 17, RAW, 0x300),
        ("packet_datagram", "makes a cooked packet socket", 17, DATAGRAM, 0x300),
        ("xdp", "makes an express data path socket (AF_XDP)", 44, RAW, 0),
        ("raw4", "makes a raw IPv4 socket", 2, RAW, 1),
        ("raw6", "makes a raw IPv6 socket", 10, RAW, 58),
    ],
    quick=("packet", "raw4"),
    control=Control.NAMESPACE,
)


@attempt("makes a network interface by /dev/net/tun", control=Control.NAMESPACE)
def tun(_: Bait) -> None:
    openable("/dev/net/tun", 2)


@attempt("routes between interfaces: opens the switch in /proc/sys for writing", control=Control.NAMESPACE)
def forwarding(_: Bait) -> None:
    openable("/proc/sys/net/ipv4/ip_forward", 1)
