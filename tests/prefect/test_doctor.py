"""Doctor, at Prefect: what is not as declared is told, and nothing is changed by looking."""

from __future__ import annotations

import datetime as dt
import json
import os
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.cd.host import CdHost
from interlock.contract.doctor import Check
from interlock.errors import ClockWrong
from tasks.common import doctor
from tasks.common.declare import declare, wanted
from tasks.common.prefect_api import Api
from tests.prefect import hosts
from tests.prefect.conftest import Server


def host(server: Server, state: Path, **change: Any) -> CdHost:
    text = json.dumps({**hosts.cd(server.api, state), **change}).replace("sandbox", "doctored")
    return CdHost.model_validate_json(text)


def looked(host: CdHost) -> dict[str, Check]:
    return {each.name: each for each in doctor.common("cd", host, since=None, grounds=host.grounds)}


def test_what_is_not_declared_is_told_and_stays_so(api: Api, server: Server, tmp_path: Path) -> None:
    """Before declaring and after an edit by hand: what differs, and the command; nothing is put right by looking."""
    one = host(server, tmp_path)
    missing = looked(one)["pools and deployments"]
    assert not missing.well and "pool interlock-cd-doctored is missing" in missing.said
    assert missing.fix.startswith("interlock declare cd")
    assert not [pool for pool in api.post("/work_pools/filter", {}) if "doctored" in pool["name"]]

    declare(api, wanted("cd", one.grounds))
    try:
        found = looked(one)
        assert found["pools and deployments"].well, found
        assert found["pools and deployments"].said.startswith("1 pool and ")
        assert found["Prefect"].well and "version 3" in found["Prefect"].said

        deployment = api.get("/deployments/name/resync/doctored")
        api.patch(f"/deployments/{deployment['id']}", {"paused": True})
        assert not looked(one)["pools and deployments"].well
        assert api.get("/deployments/name/resync/doctored")["paused"]
    finally:
        declare(api, wanted("cd", host(server, tmp_path, environments={}).grounds))


def test_a_server_that_is_away_is_a_line_not_an_end(server: Server, tmp_path: Path) -> None:
    """Every check is told, whatever the others say."""
    found = looked(host(server, tmp_path, prefect="http://127.0.0.1:9/api"))

    assert not found["Prefect"].well and found["Prefect"].fix
    assert not found["pools and deployments"].well
    assert not found["worker"].well and "interlock worker" in found["worker"].fix


def test_mirrors_of_another_user_are_left_alone(server: Server, tmp_path: Path) -> None:
    """Who runs it as somebody else is told so; no mirror is made that the worker would refuse, and none is blamed."""
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12345, 12345)

    found = looked(host(server, state))

    assert not found["state folder"].well and "belongs to user 12345" in found["state folder"].said
    assert found["environment repository"].said == f"not asked: the mirrors in {state} are user 12345's"
    assert found["environment repository"].fix == "run doctor as that user"
    assert not list(state.iterdir())


def test_clocks_apart_are_told() -> None:
    """More than a minute is wrong, a few seconds are said."""
    now = dt.datetime.now(dt.UTC)

    assert doctor.require_clock(format_datetime(now, usegmt=True), whose="Prefect's").endswith("s from Prefect's")
    with pytest.raises(ClockWrong, match=r"are \d+ s apart") as wrong:
        doctor.require_clock(format_datetime(now - dt.timedelta(minutes=5), usegmt=True), whose="Prefect's")
    assert "time server" in wrong.value.hint
