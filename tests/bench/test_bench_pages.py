from __future__ import annotations

from typing import Any

from tests.bench.bench_pages import ALL, Page, main_thread_ms


def task(pid: int, start_us: int, lasts_us: int, cpu_us: int) -> dict[str, Any]:
    return {"ph": "X", "name": "RunTask", "pid": pid, "tid": 1, "ts": start_us, "dur": lasts_us, "tdur": cpu_us}


def test_nested_tasks_of_the_busiest_page_count_once() -> None:
    names = [
        {"ph": "M", "name": "thread_name", "pid": pid, "tid": 1, "args": {"name": "CrRendererMain"}} for pid in (1, 2)
    ]
    other = task(3, 0, 90_000, 90_000)  # of another process
    first = [task(1, 0, 10_000, 6_000), task(1, 1_000, 8_000, 5_000), task(1, 10_000, 3_000, 2_000)]
    assert main_thread_ms([*names, *first, task(2, 0, 7_000, 7_000), other]) == 8.0
    assert main_thread_ms([]) == 0.0


def test_a_row_names_the_slowest_selection_of_a_single_run() -> None:
    marks = {"first-contentful-paint": 210.0, "first screen": 480.0, "roofline": 1024.0}
    page = Page("study", 787_658, 208, 5.7, 14.8, marks, {"a family": 40.0, "a point": 95.0, ALL: 480.0})
    assert page.cells() == [
        "study", "787,658", "208", "5.7", "14.8", "0.21", "0.48", "1.02", "0.10 (a point)", "0.48",
    ]  # fmt: skip
