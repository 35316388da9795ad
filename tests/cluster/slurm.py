"""A Slurm cluster of one node on this machine, real but for its two GPUs, which are pretended.

Debian's packages, a configuration, three daemons: munged, slurmctld and slurmd. All of it lies in one folder but the
links in /etc/slurm, where the programs that jobs start look for it. Needs root.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "slurm-wlm-basic-plugins")
PLACE = Path("/etc/slurm")
GPUS = ("/dev/null", "/dev/zero")
SHARDS = 8  # four trainings on a GPU


def install() -> None:
    """Install Slurm from Debian where it is not there."""
    if all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))):
        return
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update"], **quiet)
    subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES], **quiet)


class Cluster:
    """The cluster, from entering the block to leaving it.

    Arguments:
        folder: Where its configuration, state, logs and pid files go.
    """

    def __init__(self, folder: Path):
        self.folder, self.node = folder.resolve(), socket.gethostname().partition(".")[0]

    def __enter__(self) -> "Cluster":
        for name in ("state", "spool", "log", "munge"):
            (self.folder / name).mkdir(parents=True)
        shutil.chown(self.folder / "munge", "munge")
        for parent in (self.folder, *self.folder.parents):  # munge has to come this far
            parent.chmod(parent.stat().st_mode | 0o111)
        (self.folder / "munge").chmod(0o755)
        PLACE.mkdir(exist_ok=True)
        for name, text in self._configuration().items():
            (self.folder / name).write_text(text)
            if (PLACE / name).exists():
                raise RuntimeError(f"{PLACE / name} exists: this machine has a Slurm of its own")
            (PLACE / name).unlink(missing_ok=True)
            (PLACE / name).symlink_to(self.folder / name)
        self._daemon(
            "setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged",
            *(f"--{kind}={self.folder}/munge/munged.{suffix}" for kind, suffix in
              {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}.items()),
        )  # fmt: skip
        self._daemon("slurmctld")
        self.start_node()
        return self

    def __exit__(self, *_) -> None:
        for name in ("slurmd.pid", "slurmctld.pid", "munge/munged.pid"):
            if (file := self.folder / name).exists():
                end(int(file.read_text()), signal.SIGTERM)
        for name in self._configuration():
            (PLACE / name).unlink()

    def start_node(self) -> None:
        """Start the node, and wait until it is idle."""
        self._daemon("slurmd", "-N", self.node)
        wait(lambda: self.state() == "idle", "the node to be idle")

    def lose_node(self) -> None:
        """End the node at once with all that runs on it, and wait until the controller has noticed."""
        end(int((self.folder / "slurmd.pid").read_text()), signal.SIGKILL)
        for step in processes("slurmstepd"):
            kill_tree(step)
        wait(lambda: "down" in self.state(), "the controller to miss the node")

    def state(self) -> str:
        return ask("sinfo", "-h", "-o", "%T")

    def jobs(self) -> list[dict[str, str]]:
        """List all jobs since the start, as scontrol shows them."""
        lines = ask("scontrol", "-o", "show", "job").splitlines()
        return [dict(word.partition("=")[::2] for word in line.split()) for line in lines if "=" in line]

    def _daemon(self, *command: str) -> None:
        subprocess.run(command, check=True, env={k: v for k, v in os.environ.items() if k != "SLURM_CONF"})

    def _configuration(self) -> dict[str, str]:
        memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.9 / 2**20)
        settings = {
            "ClusterName": "test",
            "SlurmctldHost": f"{self.node}(127.0.0.1)",
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self.folder}/munge/munged.socket",
            "CryptoType": "crypto/munge",
            "SlurmctldPort": 26817,
            "SlurmdPort": 26818,
            "StateSaveLocation": f"{self.folder}/state",
            "SlurmdSpoolDir": f"{self.folder}/spool",
            "SlurmctldPidFile": f"{self.folder}/slurmctld.pid",
            "SlurmdPidFile": f"{self.folder}/slurmd.pid",
            "SlurmctldLogFile": f"{self.folder}/log/slurmctld.log",
            "SlurmdLogFile": f"{self.folder}/log/slurmd.log",
            "ProctrackType": "proctrack/linuxproc",  # no cgroups: limits of memory are counted and not enforced
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "SchedulerParameters": "sched_interval=5,bf_interval=5,sched_min_interval=0",
            "GresTypes": "gpu,shard",
            "MpiDefault": "none",
            "ReturnToService": 2,
            "MinJobAge": 3600,
            "MaxArraySize": 1001,
            "InactiveLimit": 0,
            "KillWait": 5,
            "SlurmdTimeout": 10,
        }
        lines = [f"{name}={value}" for name, value in settings.items()]
        sizes = f"CPUs={os.cpu_count()} RealMemory={memory} Gres=gpu:{len(GPUS)},shard:{SHARDS}"
        lines += [
            f"NodeName={self.node} NodeAddr=127.0.0.1 {sizes} State=UNKNOWN",
            f"PartitionName=all Nodes={self.node} Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=500",
        ]
        gpus = [f"NodeName={self.node} Name=gpu File={file}" for file in GPUS]
        gpus += [f"NodeName={self.node} Name=shard Count={SHARDS}"]
        return {
            "slurm.conf": "\n".join(lines) + "\n",
            "gres.conf": "\n".join(["AutoDetect=off", *gpus]) + "\n",
            "cgroup.conf": "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n",
        }


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def processes(pattern: str) -> list[int]:
    """Find processes by their command line."""
    return [int(pid) for pid in ask("pgrep", "-f", pattern).split()]


def end(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def kill_tree(pid: int) -> None:
    for child in ask("pgrep", "-P", str(pid)).split():
        kill_tree(int(child))
    end(pid, signal.SIGKILL)


def wait(condition, what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.2)
