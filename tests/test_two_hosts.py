"""Two machines that know each other by their addresses alone train one model: simulated by two network namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import child_environment
from machines import allowed

WORKER = Path(__file__).with_name("parallel_worker.py")
ADDRESSES, PORT, LINK = ("10.77.0.1", "10.77.0.2"), 29511, "vd0"


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Names of two network namespaces that are joined by a cable and see nothing else."""
    names = [f"vidiff-{os.getpid()}-{k}" for k in "ab"]
    try:
        for name in names:
            allowed("ip", "netns", "add", name)
        cable = ["ip", "link", "add", LINK, "netns", names[0], "type", "veth", "peer", LINK, "netns", names[1]]
        allowed(*cable)
        for name, address in zip(names, ADDRESSES):
            allowed("ip", "-n", name, "addr", "add", f"{address}/24", "dev", LINK)
            for link in ("lo", LINK):
                allowed("ip", "-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def torchrun(host: str, number: int, *words: str) -> list[str]:
    """The command of docs/cluster.md, on one of the hosts."""
    launch = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "pair"]
    launch += ["--rdzv-endpoint", f"{ADDRESSES[0]}:{PORT}", "--rdzv-conf", f"is_host={int(number == 0)}"]
    launch += ["--local-addr", ADDRESSES[number]]
    return ["ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run", *launch, *words]


@pytest.mark.slow
def test_two_hosts_train_what_one_process_does(hosts, tmp_path):
    environment = child_environment() | {"GLOO_SOCKET_IFNAME": LINK}
    words = [str(WORKER), "WGANGP", str(tmp_path / "two"), "--world", "2", "--nodes", "2"]
    logs = [(tmp_path / f"{k}.log").open("w+") for k in range(2)]
    running = [
        subprocess.Popen(torchrun(host, k, *words), env=environment, stdout=logs[k], stderr=logs[k])
        for k, host in enumerate(hosts)
    ]
    try:
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.kill()
    assert codes == [0, 0], "\n".join(Path(log.name).read_text()[-2000:] for log in logs)
    one = [sys.executable, str(WORKER), "WGANGP", str(tmp_path / "one"), "--world", "1"]
    assert subprocess.run(one, env=child_environment(), capture_output=True).returncode == 0
    alone, *both = (torch.load(tmp_path / name, weights_only=True) for name in ("one.0", "two.0", "two.1"))
    assert all(torch.equal(both[0][name], both[1][name]) for name in alone)
    apart = max(float((alone[name].double() - both[0][name].double()).abs().max()) for name in alone)
    print(f"\ntwo hosts: {apart:.0e} from one process")
    assert apart < 1e-12
