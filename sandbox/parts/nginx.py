"""nginx, the web server that others put in front of Prefect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sandbox.debian import provide_unpacked, unpacked
from sandbox.part import Daemon, Report, Unstarted
from sandbox.place import Place

# What Debian's nginx.conf says round the files of its sites, as far as it matters here.
_MAIN = """
daemon off;
user nobody nogroup;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    access_log off;
    include {folder}/site;
}}
"""


class Nginx(Unstarted):
    """Not a program that runs by itself: it is there, and a test starts it with the site that it is about.

    Debian's package would bind port 80 of the machine from its next start on, so it is unpacked and not installed.
    """

    name = "nginx"
    needs: ClassVar[Sequence[str]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = place.logs / "nginx.log"
        # Known from here on: a test may have another home, and so another cache, when it runs it.
        self._program = unpacked("nginx") / "usr" / "sbin" / "nginx"

    def provide(self, report: Report) -> None:
        provide_unpacked("nginx", report=report)

    def folder(self, name: str) -> Path:
        """A new folder for one server of it, where its user may pass."""
        folder = self.place.state / "nginx" / name
        folder.mkdir(parents=True)
        return folder

    def serve(self, site: str, folder: Path) -> Daemon:
        """Start it with one file of sites, in a folder where it keeps everything; the caller stops it."""
        (folder / "site").write_text(site)
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
        daemon = Daemon("nginx", self.log)
        daemon.start([self._program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"])
        return daemon
