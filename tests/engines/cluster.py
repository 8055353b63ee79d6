"""A real Slurm cluster on this machine: controller, authentication and two nodes, in a temporary folder, as root.

Each daemon is a child of ours in the foreground, so that a test can kill it and start it again.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONF = """
ClusterName=tre
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
# The nodes are believed: a machine with less memory than both say is enough for the tests.
SlurmdParameters=config_overrides
SlurmctldTimeout=10
KillWait=5
MinJobAge=600
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=9000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=9000 State=UNKNOWN
PartitionName=tre Nodes=n1,n2 Default=YES MaxTime=60 State=UP
"""


def unavailable():
    """Why there can be no cluster here, or None."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [p for p in PROGRAMS if shutil.which(p, path=path) is None]
    if missing:
        return f"Slurm is not installed: {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    return None if os.getuid() == 0 else "a Slurm node's daemon needs root"


class Cluster:
    """`bound`: to which processor a node, and all that runs there, is to keep."""

    def __init__(self, bound=()):
        self.bound = dict(bound)
        self.folder = Path(tempfile.mkdtemp(prefix="tre-slurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.processes = {}

    def __enter__(self):
        for name in ("munge", "state", "spool/n1", "spool/n2"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self.conf = self.folder / "slurm.conf"
        host = socket.gethostname().split(".")[0]
        self.conf.write_text(CONF.format(folder=self.folder, host=host, ports=_ports(3)))
        # For the commands of tests and of the area's workers.
        os.environ["SLURM_CONF"] = str(self.conf)
        try:
            self.start("munged")
            for name in ("slurmctld", "n1", "n2"):
                self.start(name)
            self.wait_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        os.environ.pop("SLURM_CONF", None)
        for name in list(self.processes):
            self.kill(name, signal.SIGTERM if name == "munged" else signal.SIGKILL)
        for pid in self.steppers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name):
        munge = self.folder / "munge"
        command = {
            "munged": [
                "munged", "--foreground", "--force", f"--key-file={munge / 'key'}", f"--socket={munge / 'socket'}",
                f"--pid-file={munge / 'pid'}", f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}",
            ],
            "slurmctld": ["slurmctld", "-D", "-f", str(self.conf)],
            "n1": ["slurmd", "-D", "-N", "n1", "-f", str(self.conf)],
            "n2": ["slurmd", "-D", "-N", "n2", "-f", str(self.conf)],
        }[name]  # fmt: skip
        program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        only = ["taskset", "-c", str(self.bound[name])] if name in self.bound else []
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*only, program, *command[1:]], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if name == "munged":
            _until((munge / "socket").exists, self.log)

    def kill(self, name, how=signal.SIGKILL):
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait()

    def steppers(self):
        """The processes that stand between this cluster's nodes and their jobs (slurmstepd)."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                name = (place / "comm").read_text().strip()
                mine = str(self.folder) in (place / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if name.startswith("slurmstepd") and mine:
                found.append(int(place.name))
        return found

    def wait_idle(self):
        """Both nodes are there and can take jobs."""

        def idle():
            done = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True, check=False)
            return done.stdout.split() == ["idle", "idle"]

        _until(idle, self.log)

    def log(self):
        return "\n".join(f"{p.name}: {p.read_text()[-1500:]}" for p in self.folder.glob("*.log"))


def _until(done, log, seconds=60):
    """Polled: the daemons say nothing when they are ready."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, log()
        time.sleep(0.1)


def _ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found
