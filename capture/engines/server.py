"""The HTTP interface of a serving engine's profiler.

vLLM: vllm/entrypoints/serve/profile/api_router.py; SGLang: python/sglang/srt/entrypoints/http_server.py.
"""

import json
import os
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from ridgeline.capture.engines import engine
from ridgeline.capture.engines.engine import START_VLLM, Engine
from ridgeline.capture.errors import CaptureError, ConfigError

KEY = "RIDGELINE_API_KEY"
"""The environment variable with the key of a server that was started with one."""
ANSWER_S = 20.0
"""Seconds for an answer from a server that is alive."""
START_S = 120.0
"""Seconds for the answer to /start_profile, for which every rank loads its profiler."""
STOP_S = 3600.0
"""Seconds for the answer to /stop_profile, which engines give when their traces are written: minutes for large ones."""
_MOST_BYTES = 16 << 20


class Server:
    """A serving engine at `url`. Raises ConfigError where that is no URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"--url {url}: expected the address of a server, such as http://127.0.0.1:8000")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        # The server runs on this machine or near it: a proxy of the environment is for elsewhere.
        self._open = build_opener(ProxyHandler({})).open

    def engine(self) -> Engine:
        """The engine that answers. Raises CaptureError where none does."""
        models = self._get("/v1/models").get("data")
        model = models[0].get("id") if isinstance(models, list) and models and isinstance(models[0], dict) else None
        told = self._get("/server_info?config_format=json")
        if "tp_size" not in told and "vllm_config" not in told:
            told = self._get("/get_server_info") or told  # SGLang before 0.5.9
        if "tp_size" in told:
            return engine.sglang(told, model)
        version = self._get("/version").get("version")
        if version is None:
            return Engine(model=model if isinstance(model, str) and model.isprintable() else None)
        config, system = told.get("vllm_config"), told.get("system_env")
        torch = system.get("torch_version") if isinstance(system, dict) else None
        return engine.vllm(version, config if isinstance(config, dict) else {}, model, torch)

    def start(self, request: dict[str, Any] | None) -> None:
        """Start the profiler. Raises CaptureError with the remedy where it does not start."""
        try:
            try:
                self._call("/start_profile", START_S, request or b"")
            except HTTPError as error:
                if error.code != 422 or not request:
                    raise
                # An engine that does not know every field.
                known = {key: value for key, value in request.items() if key != "detailed_annotations"}
                self._call("/start_profile", START_S, known)
        except HTTPError as error:
            raise CaptureError(self._refusal(error)) from None
        except (OSError, HTTPException) as error:
            raise CaptureError(self._unreachable(error)) from None

    def stop(self, timeout_s: float = STOP_S) -> str | None:
        """Stop the profiler; a line where the server did not confirm it."""
        try:
            self._call("/stop_profile", timeout_s, b"")
        except HTTPError as error:
            return f"{self.url}/stop_profile answered {error.code} {error.reason}: its profiler had stopped already"
        except (OSError, HTTPException) as error:
            return f"{self._unreachable(error)}; its profiler may still be on"
        return None

    def _refusal(self, error: HTTPError) -> str:
        answer = f"{self.url}/start_profile answered {error.code} {error.reason}"
        if error.code in (404, 405):
            return f"{answer}: the engine runs without its profiler; start it with it: {START_VLLM}"
        if error.code in (401, 403):
            return f"{answer}: the server wants a key; put it into the variable {KEY}"
        return (
            f"{answer}: its profiler may be on already; stop that with `curl -X POST {self.url}/stop_profile`, "
            "or see the server's log"
        )

    def _unreachable(self, error: Exception) -> str:
        reason = error.reason if isinstance(error, URLError) else error
        return f"no server answers at {self.url} ({reason}): start the engine, or correct --url"

    def _get(self, path: str) -> dict[str, Any]:
        """The object at `path`, empty where the server has none. Raises CaptureError where no server answers."""
        try:
            answer = json.loads(self._call(path, ANSWER_S))
        except (HTTPError, ValueError):
            return {}
        except (OSError, HTTPException) as error:
            raise CaptureError(self._unreachable(error)) from None
        return answer if isinstance(answer, dict) else {}

    def _call(self, path: str, timeout_s: float, body: dict[str, Any] | bytes | None = None) -> bytes:
        """Call `path`, by POST where there is a `body`. Raises HTTPError for a refusal, else OSError."""
        headers = {"Authorization": f"Bearer {os.environ[KEY]}"} if os.environ.get(KEY) else {}
        if isinstance(body, dict):
            headers["Content-Type"], body = "application/json", json.dumps(body).encode()
        with self._open(Request(f"{self.url}{path}", body, headers), timeout=timeout_s) as response:
            content: bytes = response.read(_MOST_BYTES)
        return content
