-- What each run lacks or was read otherwise than it stands, with the remedy.
SELECT run_id, source, message
FROM warnings
WHERE list_contains($runs, run_id) AND source <> 'memory'
UNION ALL
SELECT run_id, 'counters', counters_message
FROM runs
WHERE list_contains($runs, run_id) AND counters_message IS NOT NULL
ORDER BY run_id, source, message
