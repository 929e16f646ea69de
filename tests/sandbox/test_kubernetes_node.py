"""The cluster of the sandbox: who gets in, that the node really runs what the registry holds, and what it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes
import pytest

from sandbox.authority import write_private
from sandbox.golang import find_go, provide_binaries
from sandbox.machine import SYSCTLS, cgroup_mounts
from sandbox.parts.kubernetes import Kubernetes, authority_certificate, client_kubeconfig
from sandbox.parts.node import Node
from sandbox.parts.registry import Registry, credentials
from sandbox.pause import write_pause_image
from sandbox.place import Place
from sandbox.supervisor import Sandbox

SERVER = """\
package main

import (
	"fmt"
	"net"
)

func main() {
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		fmt.Fprint(connection, "HTTP/1.0 200 OK\\r\\n\\r\\nit runs")
		connection.Close()
	}
}
"""


def _soon[T](ask: Callable[[], T | None], *, seconds: float = 30) -> T:
    deadline = time.monotonic() + seconds
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.1)
    return answer
