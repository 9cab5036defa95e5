"""The folder in which a server keeps its state: shared by mistake, damaged, unreachable."""
import os
import shutil

import pytest

from harness import PONS, free_port, run

WORDS = "it was left as it is"


def start(folder, data_dir):
    """An agent that is expected to end by itself."""
    config = folder / "again.hcl"
    ports = "\n".join(f"{name} = {free_port()}" for name in ("http", "grpc", "grpc_tls", "server"))
    config.write_text(f'bind_addr = "127.0.0.1"\nports {{\n{ports}\n}}\n')
    return run([PONS, "agent", "-server", f"-data-dir={data_dir}", f"-config-file={config}"], timeout=20)


@pytest.fixture
def data_dir(lab):
    """Of a server that has run and left."""
    folder = lab.folder / "data"
    agent = lab.agent("dc1", dev=False, data_dir=folder)
    agent.register({"Name": "web", "Port": 80})
    assert agent.process.stop() == 0
    return folder


def damage_head(file):
    with open(file, "r+b") as state:
        state.write(os.urandom(100))


def damage_middle(file):
    with open(file, "r+b") as state:
        state.seek(os.path.getsize(file) // 2)
        state.write(os.urandom(os.path.getsize(file) // 4))


def cut_off(file):
    os.truncate(file, 5000)


@pytest.mark.parametrize("damage", [damage_head, damage_middle, cut_off])
def test_damaged_state_stops_the_start(lab, data_dir, damage):
    """A server that began anew over a damaged file would be another cluster, and the old one beyond rescue."""
    damage(data_dir / "state.db")
    before = (data_dir / "state.db").read_bytes()
    done = start(lab.folder, data_dir)
    assert done.returncode == 1 and "damaged" in done.stderr and WORDS in done.stderr, done
    assert (data_dir / "state.db").read_bytes() == before


def test_a_data_dir_has_one_agent(lab):
    """Two writers would ruin each other's state."""
    folder = lab.folder / "data"
    agent = lab.agent("dc1", dev=False, data_dir=folder)
    done = start(lab.folder, folder)
    assert done.returncode == 1 and "another process has it open" in done.stderr, done
    agent.register({"Name": "web", "Port": 80})


def test_a_copy_is_a_backup(lab, data_dir):
    """A stopped server's folder can be put away and brought back, which is what backups are for."""
    copy = lab.folder / "copy"
    shutil.copytree(data_dir, copy)
    again = lab.agent("dc1", dev=False, data_dir=copy)
    assert again.get("/v1/agent/service/web")["Port"] == 80


def test_secrets_on_disk_are_the_owners(lab, data_dir):
    """The CA's private key is in there: other users of the machine must not read it."""
    for path in [data_dir, *data_dir.iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path
