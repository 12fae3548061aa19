"""The files for a server: no container engine runs here, so what they start is started without one."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.turing_test.studies import make_study
from turing_test.commands._databases import from_environment, of_environment, read_databases
from turing_test.server.doctor import examine
from turing_test.server.serving import LONGEST_END_S, SILENCE_S
from turing_test.stimuli.create import create_study
from turing_test.web.bodies import MAX_BODY

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def evalkit(words):
    """A command of the container, as a program of this machine."""
    return [sys.executable, "-c", "from evalkit.cli import main; main(prog_name='evalkit')", *words]


def said_until(server, word):
    """What a server has printed once the word is among it."""
    seen = ""
    while word not in seen:
        line = server.stdout.readline()
        assert line, f"{shlex.join(server.args)} ended: {seen}"
        seen += line
    return seen


def test_every_variable_that_compose_needs_is_in_the_example():
    needed = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    given = dict(
        line.split("=") for line in (DEPLOY / "example.env").read_text().splitlines() if "=" in line and line[0] != "#"
    )
    assert needed == set(given)
    assert not [name for name in given if "PASSWORD" in name]  # passwords stand in files


def test_secrets_are_files_that_are_never_committed():
    texts = (DEPLOY / "compose.yaml").read_text() + DOCKERFILE
    assert "PASSWORD:" not in texts.replace("USER:PASSWORD@", "")
    ignored = (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert {"deploy/secrets/", "deploy/.env"} <= set(ignored)
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert f"deploy/secrets/{name}" in (DEPLOY / "example.env").read_text()
    used = {name for service in COMPOSE["services"].values() for name in service.get("secrets", ())}
    assert used == set(COMPOSE["secrets"])


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_confined(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "SYS_ADMIN" not in service.get("cap_add", [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert service["restart"] == "unless-stopped"


def test_the_image_does_not_run_as_root():
    (user,) = re.findall(r"^USER (\S+)$", DOCKERFILE, re.M)
    assert int(user.split(":")[0]) > 0


def test_each_service_waits_until_what_it_needs_is_healthy():
    needs = {name: service.get("depends_on", {}) for name, service in COMPOSE["services"].items()}
    assert {name: set(need) for name, need in needs.items()} == {
        "study": {"database"}, "backup": {"study"}, "database": set(), "caddy": {"study"},
    }  # fmt: skip
    assert {one["condition"] for need in needs.values() for one in need.values()} == {"service_healthy"}
    assert "/health" in COMPOSE["services"]["study"]["healthcheck"]["test"][3]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_the_backup_that_compose_makes_can_be_restored(make_database, tmp_path):
    """The commands of the service `backup` and of the docs, word for word, from one PostgreSQL into another, empty one."""
    running, empty = make_database(), make_database()
    study = make_study(tmp_path / "study")
    (tmp_path / "backups").mkdir()

    def run(words, database):
        environment = {**os.environ, "EVALKIT_DATABASE": database}
        done = subprocess.run(evalkit(words), env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(["study", "simulate", str(study.folder), "--participants", "2"], running)
    (script,) = COMPOSE["services"]["backup"]["command"]
    words = shlex.split(
        re.search(r"evalkit (study backup [^;]+);", script)[1].replace("$$(date +%Y-%m-%dT%H%M%S)", "now")
    )
    local = {"/study": str(study.folder), "/backups/now.db": str(tmp_path / "backups" / "now.db")}
    assert "2 sessions" in run([local.get(word, word) for word in words], running)
    kept = f"sqlite:///{tmp_path / 'backups' / 'now.db'}"
    assert "moved 2 sessions" in run(["study", "move", str(study.folder), "--to", empty], kept)
    assert "2 sessions" in run(["study", "backup", str(study.folder), "--out", str(tmp_path / "again.db")], empty)


def test_the_unit_of_systemd_runs_the_command_as_nobody_special():
    unit = (DEPLOY / "evalkit-study.service").read_text()
    words = re.search(r"^ExecStart=\S+/evalkit (.+)$", unit, re.M)[1].split()
    assert words[:2] == ["study", "serve"]
    assert words[-2:] == ["--proxy", "127.0.0.1"]
    for line in ("Restart=always", "User=study", "NoNewPrivileges=yes", "ProtectSystem=strict", "MemoryMax=2G"):
        assert f"\n{line}\n" in unit
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > LONGEST_END_S


def test_the_image_holds_what_is_installed_and_nothing_else():
    root = DEPLOY.parent
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for word in line.split()]
    assert all((root / name).exists() for name in copied)
    project = tomllib.loads((root / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= set(copied)
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= set(copied)
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(copied)
    extra = re.search(r'pip install [^"]*"\.\[(\w+)\]"', DOCKERFILE)[1]
    assert extra in project["project"]["optional-dependencies"]


def test_caddy_speaks_to_the_studys_port_and_keeps_no_log():
    lines = [line.split("#")[0].split() for line in (DEPLOY / "Caddyfile").read_text().splitlines()]
    words = [word for line in lines for word in line]
    command = COMPOSE["services"]["study"]["command"]
    assert f"study:{command[command.index('--port') + 1]}" in words
    assert "log" not in words
    assert "encode" not in words
    assert "STUDY_DOMAIN" in COMPOSE["services"]["caddy"]["environment"]


def test_both_proxies_limit_time_and_size_and_close_before_the_study_does():
    caddy, nginx = ((DEPLOY / name).read_text() for name in ("Caddyfile", "nginx.conf"))
    for limit in ("read_header 10s", "read_body 20s", "max_size 32KB", "max_header_size 16KB", "request_buffers 32KB"):
        assert limit in caddy
    for limit in (
        "client_header_timeout 10s;", "client_body_timeout 20s;", "client_max_body_size 32k;", "access_log off;",
        "proxy_set_header X-Forwarded-For $remote_addr;", "gzip off;", "proxy_request_buffering on;",
    ):  # fmt: skip
        assert limit in nginx
    assert int(re.search(r"client_max_body_size (\d+)k", nginx)[1]) * 1024 >= MAX_BODY
    for kept in (re.search(r"\tkeepalive (\d+)s", caddy), re.search(r"keepalive_timeout (\d+)s", nginx)):
        assert int(kept[1]) < SILENCE_S
    assert caddy.count("{") == caddy.count("}")
    assert nginx.count("{") == nginx.count("}")


def test_only_caddy_is_reachable_from_outside():
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["caddy"]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_the_servers_command_serves_the_study_from_postgresql(database_url, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("truth", "mine"):
        (tmp_path / name).mkdir()
        for k in range(4):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name / f"{k}.png")
    settings = {"size": 64, "practice_trials": 1, "test_trials": 2, "vigilance_trials": 0, "reserve_trials": 0}
    study = create_study(tmp_path / "study", tmp_path / "truth", {"mine": tmp_path / "mine"}, settings=settings).study

    service = COMPOSE["services"]["study"]
    entry = re.search(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.M)[1]
    assert yaml.safe_load(entry) == ["evalkit", "study"]
    local = {"/study": str(study.folder), "0.0.0.0": "127.0.0.1", "8000": "0"}
    words = ["study", *(local.get(word, word) for word in service["command"])]
    environment = {**os.environ, "EVALKIT_DATABASE": database_url, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        evalkit(words), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        seen = said_until(server, "participants")
        url = re.search(r"http://\S+?(?=/\s)", seen)[0]
        check = service["healthcheck"]["test"]
        assert check[:3] == ["CMD", "python", "-c"]
        code = check[3].replace("http://127.0.0.1:8000", url)
        subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
        # As Caddy passes it on: the address that the participant used.
        request = urllib.request.Request(
            url, headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "study.example.org"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        bad = [check for check in examine(study.folder, database_url, url) if check.ok is False]
        assert [check.name for check in bad] == ["consent"]  # no contact is set
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stdout.close()
    assert server.returncode == 0


def test_several_studies_change_databases_and_backups_alone(monkeypatch, tmp_path):
    several = yaml.safe_load((DEPLOY / "several.yaml").read_text())["services"]
    assert {name: set(service) for name, service in several.items()} == {
        "study": {"environment"}, "backup": {"command", "environment"},
    }  # fmt: skip
    for service in several.values():
        monkeypatch.setenv("EVALKIT_DATABASE", service["environment"]["EVALKIT_DATABASE"])
        assert of_environment(tmp_path / "more") == (
            "postgresql://study@database/more?passfile=/run/secrets/pgpass"  # as the only study of compose.yaml has it
        )
        assert set(read_databases(from_environment(), {"colors": tmp_path, "more": tmp_path})) == {"colors", "more"}
    (script,) = several["backup"]["command"]
    assert "evalkit study backup $$study --out /backups/" in script


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_several_studies_are_served_and_backed_up_by_what_the_two_files_say(make_database, tmp_path):
    folder, backups, bin_ = (tmp_path / name for name in ("studies", "backups", "bin"))
    for name in ("colors", "more"):
        make_study(folder / name)
    for made in (backups, bin_):
        made.mkdir()
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:study:a password\n")
    passwords.chmod(0o600)
    (bin_ / "evalkit").write_text(f'#!/bin/sh\nexec {shlex.join(evalkit([]))} "$@"\n')
    (bin_ / "evalkit").chmod(0o755)
    urls = {name: make_database() for name in ("colors", "more")}

    def merged(name):  # as compose joins two files: commands are replaced, environments are added to
        own, base = yaml.safe_load((DEPLOY / "several.yaml").read_text())["services"][name], COMPOSE["services"][name]
        environment = {**base["environment"], **own["environment"]}
        databases = environment["EVALKIT_DATABASE"]
        for study, url in urls.items():
            named = f"postgresql://study@database/{study}?passfile=/run/secrets/pgpass"
            assert databases.count(named) == 1
            databases = databases.replace(named, f"{url}&passfile={passwords}")
        environment |= {
            "EVALKIT_DATABASE": databases,
            "PYTHONUNBUFFERED": "1",
            "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
        }
        return {**base, **own}, {**os.environ, **environment, "PATH": f"{bin_}:{os.environ['PATH']}"}

    service, environment = merged("study")
    local = {"/study": str(folder), "0.0.0.0": "127.0.0.1", "8000": "0"}
    words = ["study", *(local.get(word, word) for word in service["command"])]
    server = subprocess.Popen(
        evalkit(words), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        seen = said_until(server, "dashboard")
        url = re.search(r"http://[^/\s]+", seen)[0]
        code = service["healthcheck"]["test"][3].replace("http://127.0.0.1:8000", url)
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        for name in urls:
            with urllib.request.urlopen(f"{url}/{name}/", timeout=60) as answer:
                assert answer.status == 200
        backup, environment = merged("backup")
        (script,) = backup["command"]
        script = script.replace("$$", "$").replace("/study/", f"{folder}/").replace("/backups", str(backups))
        once = script.replace("sleep 86400", "exit")
        assert once != script
        subprocess.run([*backup["entrypoint"], once], env=environment, check=True, timeout=300)
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stdout.close()
    assert server.returncode == 0
    assert {re.match(r"(\w+)-\d{4}-\d\d-\d\dT\d{6}\.db$", path.name)[1] for path in backups.iterdir()} == set(urls)
