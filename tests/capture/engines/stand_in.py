"""Small servers in place of vLLM and SGLang, which cannot be installed where the tests run.

They behave as the engines' sources say: vllm/entrypoints/serve/profile/api_router.py, vllm/profiler/wrapper.py and
python/sglang/srt/entrypoints/http_server.py, python/sglang/srt/managers/scheduler_profiler_mixin.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, dict[str, Any] | None]


@dataclass
class StandIn:
    """An engine whose profiler calls `write` with the folder of its traces when it stops."""

    write: Callable[[Path], None]
    folder: Path | None = None
    is_profiling_allowed: bool = True
    key: str | None = None
    url: str = ""
    requests: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)
    """Paths that were called by POST, with their bodies."""
    is_on: bool = False

    def get(self, path: str) -> Answer:
        return 404, None

    def post(self, path: str, body: dict[str, Any] | None) -> Answer:
        return 404, None


@dataclass
class Vllm(StandIn):
    """vLLM: it has the routes only with --profiler-config, takes no body, and ignores a second start."""

    is_in_development: bool = False

    def get(self, path: str) -> Answer:
        if path == "/version":
            return 200, {"version": "0.26.0"}
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": "Qwen/Qwen3-8B", "owned_by": "vllm"}]}
        if path == "/server_info?config_format=json" and self.is_in_development:
            config = {
                "model_config": {"model": "Qwen/Qwen3-8B", "dtype": "torch.bfloat16", "hf_token": "secret"},
                "parallel_config": {"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "data_parallel_size": 1},
                "profiler_config": {"profiler": "torch", "torch_profiler_dir": str(self.folder)},
            }
            environment = {"VLLM_HOST": "node17"}
            return 200, {"vllm_config": config, "vllm_env": environment, "system_env": {"torch_version": "2.13.0"}}
        return 404, {"detail": "Not Found"}

    def post(self, path: str, body: dict[str, Any] | None) -> Answer:
        if not self.is_profiling_allowed:
            return 404, {"detail": "Not Found"}
        assert body is None
        assert self.folder is not None
        if path == "/stop_profile" and self.is_on:
            self.write(self.folder)
        self.is_on = path == "/start_profile"
        return 200, None


@dataclass
class Sglang(StandIn):
    """SGLang: it always has the routes, and takes the folder of the traces from the request, else its environment."""

    tensor_parallel: int = 1
    steps: int | None = None
    fields: tuple[str, ...] = ("output_dir", "num_steps", "record_shapes", "detailed_annotations")

    def get(self, path: str) -> Answer:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": "/home/alice/Qwen3-8B", "owned_by": "sglang"}]}
        if path == "/get_server_info":
            arguments = {"model_path": "/home/alice/Qwen3-8B", "dtype": "auto", "api_key": "secret"}
            sizes = {"tp_size": self.tensor_parallel, "pp_size": 1, "dp_size": 1}
            return 200, arguments | sizes | {"version": "0.5.13", "internal_states": []}
        return 404, {"detail": "Not Found"}

    def post(self, path: str, body: dict[str, Any] | None) -> Answer:
        if (path == "/start_profile") == self.is_on:
            return 500, None  # "Profiling is already in progress", or "not in progress", in its log
        if path == "/start_profile":
            if unknown := set(body or {}) - set(self.fields):
                return 422, {"detail": f"unknown fields {unknown}"}
            self.is_on = True
            self.folder = Path((body or {}).get("output_dir") or self.folder or "/tmp")
            if (body or {}).get("num_steps"):
                threading.Timer(0.05, self._end).start()
        else:
            self._end()
        return 200, None

    def _end(self) -> None:
        self.is_on = False
        assert self.folder is not None
        self.write(self.folder)


@contextmanager
def serving(engine: StandIn) -> Iterator[str]:
    """Yield the address of a server that answers for `engine`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(engine.get(self.path))

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(text) if text else None
            engine.requests.append((self.path, body))
            if engine.key and self.headers.get("Authorization") != f"Bearer {engine.key}":
                self._answer((401, {"error": "Unauthorized"}))
            else:
                self._answer(engine.post(self.path, body))

        def _answer(self, answer: Answer) -> None:
            status, content = answer
            text = json.dumps(content).encode() if content is not None else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    engine.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield engine.url
    finally:
        server.shutdown()
        server.server_close()
