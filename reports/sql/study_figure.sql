SELECT * FROM $view
WHERE list_contains($runs, run_id)
ORDER BY $order
