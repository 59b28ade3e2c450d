"""Put S3, EMR, STS and the health page behind one port, and stop them in order."""

import ipaddress
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from wsgiref.types import StartResponse

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from localaws import ACCOUNT_ID, __version__, emr_api
from localaws.aws_request import signed_service
from localaws.emr_documents import ClusterFiles
from localaws.emr_service import EmrService
from localaws.fault_admin import FAULTS_PATH, administer
from localaws.fault_rules import Rule
from localaws.fault_wire import FaultyApplication
from localaws.fault_workplace import FaultyWorkplace
from localaws.faults import Faults
from localaws.s3_service import REGION, S3Service
from localaws.s3_store import Store
from localaws.s3_upload import UploadError, WsgiEnviron, error_body, is_upload, receive
from localaws.wsgi import Server

logger = logging.getLogger(__name__)

HEALTH_PATH = "/_localaws/health"
SERVICES = {"s3", "elasticmapreduce", "sts"}


class Application:
    """Routes a request: the pages on itself here, everything else to moto with the local backends."""

    def __init__(self, s3: S3Service, emr: EmrService, faults: Faults) -> None:
        self._s3 = s3
        self._emr = emr
        self._faults = faults
        self._faulty = FaultyApplication(self._serve, faults, emr.find)
        self._aws = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: WsgiEnviron, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        if path == HEALTH_PATH:
            return self._health(start_response)
        if "HTTP_ORIGIN" in environ:
            # Any web page may post to loopback, and RunJobFlow runs programs: no browser script may.
            return _respond(start_response, "403 Forbidden", [], b"not for scripts in a browser")
        if path == FAULTS_PATH:
            return administer(environ, start_response, self._faults)
        return self._faulty(environ, start_response)

    def _serve(self, environ: WsgiEnviron, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        service = signed_service(environ)
        if service not in SERVICES or path.startswith(("/moto-api", "/latest/")):
            return _not_implemented(service, start_response)
        try:
            staged = receive(environ, self._s3.store) if is_upload(environ) else None
        except UploadError as error:
            headers = [("Content-Type", "application/xml")]
            return _respond(start_response, "400 Bad Request", headers, error_body(error))
        with self._s3.receiving(staged):
            answer: Iterable[bytes] = self._aws(environ, start_response)
            return answer

    def _health(self, start_response: StartResponse) -> Iterable[bytes]:
        document = {
            "status": "ready",
            "version": __version__,
            "buckets": self._s3.buckets(),
            "clusters": self._emr.states(),
        }
        headers = [("Content-Type", "application/json")]
        return _respond(start_response, "200 OK", headers, json.dumps(document).encode())


class LocalAws:
    """The whole embedded AWS of one data directory."""

    def __init__(
        self,
        host: str,
        port: int,
        data_dir: Path,
        buckets: Iterable[str],
        *,
        faults: Iterable[Rule] = (),
        verbose: bool = False,
    ) -> None:
        self.store = Store(data_dir)
        self.s3 = S3Service(self.store)
        for bucket in buckets:
            self.s3.ensure_bucket(bucket)
        # Bound before EMR starts: with port 0 the steps' endpoint is known only now.
        self._server = Server((host, port), _not_ready, verbose=verbose)
        self.endpoint_url = f"http://{_reachable(host)}:{self._server.server_port}"
        self.faults = Faults(faults)
        self._workplace = FaultyWorkplace(self.s3, self.endpoint_url, self.faults)
        arn_prefix = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT_ID}"
        files = ClusterFiles(self.store.layout.clusters)
        self.emr = EmrService(self._workplace, files, arn_prefix)
        emr_api.install(self.emr)
        self._server.app = Application(self.s3, self.emr, self.faults)

    def serve(self) -> None:
        """Serve until `stop`."""
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Stop taking requests; call from another thread than `serve`'s."""
        self._server.shutdown()

    def close(self) -> None:
        """End clusters and their processes, then let go of port and files."""
        self.faults.remove()
        for cluster_id in self.emr.shut_down():
            logger.error("cluster %s did not end in time", cluster_id)
        self._workplace.close()
        self._server.server_close()
        self.store.close()


def serve_until_signal(aws: LocalAws) -> None:
    """Serve until SIGTERM or SIGINT, then end everything that was started."""

    def on_signal(number: int, _: FrameType | None) -> None:
        sys.stderr.write(f"localaws: {signal.Signals(number).name}, stopping clusters\n")
        # shutdown() waits for the loop that this handler interrupts: it needs its own thread.
        threading.Thread(target=aws.stop, daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        aws.serve()
    finally:
        aws.close()


def is_loopback(host: str) -> bool:
    """Tell whether all addresses of a host are this machine's own."""
    try:
        found = socket.getaddrinfo(host, None)
    except socket.gaierror:
        return False
    return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)


def _reachable(host: str) -> str:
    """Return a host that steps on this machine reach: a wildcard is not one."""
    return "127.0.0.1" if host in {"0.0.0.0", "", "::"} else host  # noqa: S104  (compared, not bound)


def _not_implemented(service: str, start_response: StartResponse) -> Iterable[bytes]:
    message = (
        f"the embedded AWS serves {', '.join(sorted(SERVICES))}; found a request for {service}"
    )
    body = json.dumps({"__type": "NotImplementedException", "message": message}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1")]
    headers.append(("x-amzn-errortype", "NotImplementedException"))
    return _respond(start_response, "501 Not Implemented", headers, body)


def _not_ready(_: WsgiEnviron, start_response: StartResponse) -> Iterable[bytes]:
    return _respond(start_response, "503 Service Unavailable", [], b"starting")


def _respond(
    start_response: StartResponse, status: str, headers: list[tuple[str, str]], body: bytes
) -> Iterable[bytes]:
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]
