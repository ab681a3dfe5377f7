-- Both accounts of every run. The entries of each account sum to the run's device time.
SELECT run_id, account, entry, kernels, duration_ns, device_time_ns
FROM ledger_summary
WHERE list_contains($runs, run_id)
ORDER BY run_id, account, duration_ns DESC, entry
